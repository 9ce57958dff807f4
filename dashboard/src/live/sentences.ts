// What the stream tells, as sentences. Each is made of its numbers, and says so when they show nothing yet.
import type { LiveModel, StreamAlarm } from '../api/stream';
import { counted, duration, holdsZero, interval, known, percent, pValue, thousands, withUnit } from '../numbers/format';
import { effectSentence } from '../words/decision';
import { bestOf, type Watched } from './stream';

/** Reasons of dead letters: the event … */
export const REASONS: Record<string, string> = {
  empty: 'has no value',
  too_large: 'is too long',
  not_utf8: 'is not text (UTF-8)',
  too_deep: 'is nested too deeply',
  not_json: 'is no JSON',
  not_an_object: 'is JSON, but no object',
  duplicate_key: 'has a key twice',
  bad_id: 'has no id, or none that can be one',
  bad_time: 'has no time, or none that can be one',
  bad_probability: 'has an assignment probability that is none',
  bad_value: 'has a value that does not fit its column',
  no_columns: 'has none of the model’s columns',
  not_found: 'lacks columns, and the look-up table does not know it',
};

/** What may keep an event or an outcome out of the live effect. */
export const COUNT_WORDS: Record<string, string> = {
  n_without_assignment: 'Scores without an arm or its probability',
  n_other_arms: 'Scores of arms that are not compared',
  n_unreadable: 'Messages that could not be understood',
  n_refused: 'Outcomes outside their range',
  n_duplicate_events: 'Events that came twice',
  n_events_without_room: 'Events that came while too many waited',
  n_duplicate_outcomes: 'Outcomes of events that had one',
  n_late_outcomes: 'Outcomes that came too late',
  n_early_outcomes: 'Outcomes from before their event',
  n_unknown_outcomes: 'Outcomes whose event never came',
};

const ALARMS: Record<string, string> = { srm: 'assignment mismatch', decay: 'decay of the ranking', drift: 'drift' };

/** An alarm in words; that of a model which no longer scores names it. */
export function alarmWords(alarm: StreamAlarm, current: string, label: (id: string) => string): string {
  const what = ALARMS[alarm.kind] ?? alarm.kind;
  return alarm.model === current ? what : `${what} (${label(alarm.model)})`;
}

/** How fast a share of the events was: `200 ms`, or that the slowest class has no end. */
export function within(limit: number | null, n: number): string {
  if (known(limit)) return duration(limit / 1000);
  return n > 0 ? 'over a minute' : '–';
}

/** What an interval waits for, from the reason it is not there. */
export function waitsFor(reason: string | null | undefined): string {
  const rows = /^burn-in: (\d+) of (\d+) rows/.exec(reason ?? '');
  if (rows) return `It needs ${thousands(Number(rows[2]))} events whose outcome is known; there ${rows[1] === '1' ? 'is' : 'are'} ${thousands(Number(rows[1]))}.`;
  const rare = /^burn-in: (\d+) of (\d+) effective/.exec(reason ?? '');
  if (rare) return `The outcome is rare, and too little of it was seen so far: as much as ${rare[1]} equally weighty events would tell, of ${rare[2]} needed.`;
  if (/^no event yet/.test(reason ?? '')) return 'No event was left to chance yet: without treated and untreated people of the same kind there is nothing to compare.';
  return reason ? `${reason[0]?.toUpperCase()}${reason.slice(1)}.` : '';
}

/** The live effect as somebody would say it, or what it waits for. */
export function liveSentence(model: LiveModel, { kind, outcome }: Watched, nWaiting: number): string {
  if (model.n === 0) {
    const wait = nWaiting > 0 ? ` ${counted(nWaiting, 'event waits', 'events wait')} for their time window to close.` : '';
    const fixed = model.n_without_choice > 0 ? ` ${waitsFor('no event yet')}` : '';
    return `No event has been followed to its end yet.${wait}${fixed}`;
  }
  const best = bestOf(model);
  const pending = model.asymptotic.reason ?? null;
  if (!known(best.value) || !known(best.lower) || !known(best.upper)) return `There is no range yet. ${waitsFor(pending ?? best.reason)}`.trim();
  const said = effectSentence({ ate: best, controlMean: null, kind, outcome });
  const more = holdsZero(best) ? 'More events will narrow this range.' : 'This range holds however often you look.';
  return pending ? `${said} This is the careful range of the first events, and a narrower one follows. ${waitsFor(pending)}` : `${said} ${more}`;
}

/** What happened beside what the scores predicted. */
export function differenceSentence(model: LiveModel, unit: Watched['unit']): string {
  const difference = model.predicted.realised_minus_predicted;
  if (!known(difference.lower) || !known(difference.upper)) return '';
  if (holdsZero(difference)) return 'May be chance.';
  return `More than chance: the scores promise too ${(difference.value ?? 0) < 0 ? 'much' : 'little'} by ${withUnit(Math.abs(difference.value ?? 0), unit).replace('+', '')}.`;
}

/** Promised beside live in the best tenth. */
export function promiseSentence(model: LiveModel, unit: Watched['unit']): string {
  const first = model.deciles[0];
  const how = 'Dashed with a grey band: measured on held-out people. Dots: live, with a range that holds at every look.';
  if (!first || !known(first.promised.value)) return how;
  const live = bestOf(first);
  if (!known(live.value)) return `The best tenth was promised ${withUnit(first.promised.value, unit)}; nothing is known live yet. ${how}`;
  return `The best tenth was promised ${withUnit(first.promised.value, unit)} and brings ${withUnit(live.value, unit)} (${interval({ ...live, reason: 'no range yet' }, unit)}). ${how}`;
}

/** Whether people come into the arms as recorded. */
export function assignmentSentence({ srm }: LiveModel): string {
  if (srm.n_impossible > 0) return `${counted(srm.n_impossible, 'event is', 'events are')} in an arm that the recorded probability rules out. Find out why before believing any effect.`;
  if (srm.n === 0) return 'No event was left to chance yet.';
  if (srm.alarm) return 'Chance does not explain this difference. Some people are lost on their way, or the recorded probabilities are wrong: do not believe the effects before you know which.';
  return 'No more than chance: the arms come as the recorded probabilities say.';
}

/** The numbers behind it. */
export function assignmentRange({ srm }: LiveModel): string {
  if (srm.n === 0) return '';
  return `${percent(srm.expected / srm.n)} expected; ${thousands(srm.n_treated)} of ${thousands(srm.n)}, p = ${pValue(srm.p)}`;
}

/** Whether the best-ranked people still bring what was promised. */
export function decaySentence(decay: NonNullable<LiveModel['decay']>): string {
  if (known(decay.alarm_after)) return `The live range lay wholly below the promised one after ${counted(decay.alarm_after, 'event', 'events')}: the ranking no longer brings what it did. Train again on newer data.`;
  if (!known(decay.promised.lower)) return 'Nothing was promised for the best-ranked people, so nothing can be broken.';
  if (!known(decay.live.upper)) return `No range for the newest events yet. ${waitsFor(decay.live.reason)}`.trim();
  return 'No alarm: the live range does not lie below the promised one.';
}
