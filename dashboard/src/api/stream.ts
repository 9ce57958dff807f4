// What `impactiq stream` tells of itself, as types: `GET /v1/stream`, passed on by this server.
import type { Estimate } from '../numbers/format';

export interface StreamReport {
  member: string;
  model: { name: string; id: string };
  uptime_seconds: number;
  figures: StreamFigures;
  /** Upper ends of latency classes; null: nothing yet, or over a minute. */
  latency_below_ms: { p50: number | null; p99: number | null };
  /** Null where this member follows no outcomes. */
  live: LiveNow | null;
  alarms: StreamAlarm[];
}

export interface StreamAlarm {
  kind: string;
  /** The id of the model it is about. */
  model: string;
}

export interface StreamFigures {
  scored: number;
  dead: Record<string, number>;
  sent_again: number;
  batches: number;
  failures: number;
  last_failure: string | null;
  stale: number;
  scoring_seconds: number;
  users_in_memory: number;
  latency: number[];
  latency_mean_ms: number | null;
  lag: Record<string, number>;
  drift: StreamDrift | null;
}

export interface StreamDrift {
  window: number;
  n_rows: number;
  columns: { name: string; psi: number; psi_p: number; ks: number | null; ks_p: number | null; alarm: boolean }[];
}

export interface LiveNow {
  /** Chance that any one interval is ever wrong. */
  alpha: number;
  n_waiting: number;
  counts: Record<string, number>;
  models: LiveModel[];
  not_followed: Record<string, number>;
  newest: number | null;
}

export interface LiveModel {
  /** The id of its content. */
  model: string;
  n: number;
  n_treated: number;
  n_control: number;
  n_without_choice: number;
  n_beyond_overlap: number;
  /** Valid at every look from the first event on. */
  exact: Estimate;
  /** Narrower, valid at every look after the burn-in. */
  asymptotic: Estimate;
  predicted: { predicted: number | null; realised_minus_predicted: Estimate };
  deciles: LiveDecile[];
  srm: { n: number; n_treated: number; expected: number; p: number; n_impossible: number; alarm: boolean };
  decay: { promised: Estimate; live: Estimate; epoch: number; alarm_after: number | null } | null;
}

export interface LiveDecile {
  decile: number;
  n: number;
  promised: Estimate;
  predicted: number | null;
  exact: Estimate;
  asymptotic: Estimate;
}
