// What the overview's decision rests on, taken from the reports.
import type { Subject } from '../session.svelte';
import { known } from '../numbers/format';
import type { Evidence } from '../words/decision';
import { gateWords } from '../words/gates';

/** Gathers the evidence about one outcome and arm. */
export function evidenceOf(subject: Subject, randomised: boolean): Evidence {
  const { reports, training, evaluation } = subject;
  const ranking = evaluation?.metrics['rate_autoc'] ?? evaluation?.metrics['qini_per_capita'] ?? null;
  const check = reports.check;
  return {
    outcome: subject.outcome,
    kind: subject.kind,
    arm: subject.arm,
    ate: training?.ate ?? null,
    controlMean: training?.control_mean ?? null,
    ranking: ranking && known(ranking.value) ? ranking : null,
    constant: ranking !== null && !known(ranking.value) && /same|constant|equal|heterogen/i.test(ranking.reason ?? ''),
    healthy: check ? check.passed : null,
    failedGates: check ? check.gates.filter((gate) => !gate.passed).map((gate) => gateWords(gate.name).title.toLowerCase()) : [],
    randomised,
  };
}
