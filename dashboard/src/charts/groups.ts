// Charts of groups: deciles with what was measured in each, and predicted against measured.
import { holdsZero, interval, known, level, plain, scale, scaled, suffix, tick, withUnit, type Estimate, type OutcomeKind, type Unit } from '../numbers/format';
import { rules, whiskers } from './shapes';
import { baseAxis, dots, figure, frame, valueAxis, words, type ChartSpec, type Look, type Table } from './spec';

/** A tenth of the people as the server reports it. */
export interface Group {
  decile: number;
  mean_score: number;
  n_treated: number;
  n_control: number;
  mean_treated: number | null;
  mean_control: number | null;
  effect: Estimate;
}

/** What both charts of deciles need to know. */
export interface GroupsInput {
  groups: readonly Group[];
  unit: Unit;
  kind: OutcomeKind;
  outcome: string;
  /** The average over everybody, drawn as a line. */
  average: number | null;
  summary: string;
}

function tableOf({ groups, unit, kind }: GroupsInput): Table {
  return {
    columns: [
      { name: 'Tenth, best first', numeric: true },
      { name: 'Measured effect', numeric: true },
      { name: '95 % interval', numeric: false },
      { name: 'Predicted effect', numeric: true },
      { name: 'With treatment', numeric: true },
      { name: 'Without', numeric: true },
      { name: 'People', numeric: true },
    ],
    rows: groups.map((group) => [
      figure(group.decile, String(group.decile)),
      figure(group.effect.value, withUnit(group.effect.value, unit)),
      words(interval(group.effect, unit)),
      figure(group.mean_score, withUnit(group.mean_score, unit)),
      figure(group.mean_treated, level(group.mean_treated, kind)),
      figure(group.mean_control, level(group.mean_control, kind)),
      figure(group.n_treated + group.n_control, plain(group.n_treated + group.n_control)),
    ]),
  };
}

/** The axis of the ten groups of a ranking; `onZero` puts its line where the effect is zero. */
export function tenthAxis(look: Look, tenths: readonly { decile: number }[], onZero: boolean): Record<string, unknown> {
  return {
    type: 'category',
    name: 'Tenth of people, ranked by predicted effect',
    nameLocation: 'middle',
    nameGap: 30,
    nameTextStyle: { color: look.muted },
    data: tenths.map(({ decile }) => (decile === 1 ? 'best' : decile === tenths.length ? 'last' : String(decile))),
    axisTick: { show: false },
    axisLine: { onZero, lineStyle: { color: look.faint } },
    axisLabel: { color: look.muted, interval: 0, hideOverlap: true },
  };
}

/** Ten bars: the measured effect of each tenth of the ranking with its interval. */
export function decileChart(input: GroupsInput): ChartSpec {
  const table = tableOf(input);
  const { groups, unit, average } = input;
  const shown = (value: number | null | undefined) => scaled(value, unit);
  return {
    title: 'Measured effect by tenth of the ranking',
    summary: input.summary,
    file: 'deciles',
    table,
    height: 340,
    option: (look) => ({
      ...frame(look, table, 'axis'),
      xAxis: tenthAxis(look, groups, true),
      yAxis: valueAxis(look, `Effect on ${input.outcome}${suffix(unit) && `,${suffix(unit)}`}`, (value) => tick(value, 'plain', true)),
      series: [
        {
          type: 'bar',
          data: groups.map((group) => ({
            value: shown(group.effect.value),
            itemStyle: { color: look.accent, opacity: holdsZero(group.effect) ? 0.35 : 0.9, borderRadius: 4 },
          })),
          barMaxWidth: 46,
          barCategoryGap: '34%',
        },
        whiskers(groups.map((group, index) => ({ at: index, lower: shown(group.effect.lower), upper: shown(group.effect.upper) })), look.ink),
        ...(known(average) ? [rules([{ at: average * scale(unit), upright: false, label: 'average', colour: look.muted }], look.font)] : []),
      ],
    }),
  };
}

/** Predicted against measured effect: on the diagonal predictions can be taken at their word. */
export function calibrationChart(input: GroupsInput): ChartSpec {
  const table = tableOf(input);
  const { groups, unit } = input;
  const s = scale(unit);
  const ends = groups.flatMap((group) => [group.mean_score, group.effect.value]).filter(known).map((value) => value * s);
  const low = Math.min(0, ...ends);
  const high = Math.max(0, ...ends);
  const signedTick = (value: number) => tick(value, 'plain', true);
  return {
    title: 'Predicted against measured',
    summary: 'Each dot is a tenth of the people. On the line, predictions can be taken at their word; above it, the effect was larger than predicted.',
    file: 'calibration',
    table,
    height: 340,
    option: (look) => ({
      ...frame(look, table, 'item'),
      xAxis: baseAxis(look, `Predicted effect${suffix(unit) && `,${suffix(unit)}`}`, signedTick, { scale: true }),
      yAxis: valueAxis(look, `Measured effect${suffix(unit) && `,${suffix(unit)}`}`, signedTick),
      series: [
        {
          ...dots(11),
          itemStyle: { color: look.accent },
          z: 4,
          data: groups.map((group) => [group.mean_score * s, scaled(group.effect.value, unit)]),
        },
        whiskers(groups.map((group) => ({ at: group.mean_score * s, lower: scaled(group.effect.lower, unit), upper: scaled(group.effect.upper, unit) })), look.accent),
        { type: 'line', silent: true, showSymbol: false, lineStyle: { color: look.faint, type: 'dashed' }, data: [[low, low], [high, high]] },
      ],
    }),
  };
}
