// What the server says, as types. With `stream.ts`, what the stream behind it says, the one place that knows the API's JSON.
import type { Estimate, OutcomeKind } from '../numbers/format';
import type { CurvePoint } from '../numbers/profit';

export interface ServerInfo {
  version: string;
  auth: boolean;
  role: string;
  active_model: string | null;
  started_at: string;
  /** False: this server was told of no stream. Servers that do not say are asked. */
  stream?: boolean;
  log: { kind: string; durable: boolean };
  limits: { max_rows: number; max_body_bytes: number };
}

export interface Outcome {
  name: string;
  kind: OutcomeKind;
}

export interface Column {
  name: string;
  type: string;
}

export interface ModelEntry {
  name: string;
  id: string;
  active: boolean;
  impactiq_version: string;
  learner: string;
  loaded_at: string;
  outcomes: Outcome[];
  arms: string[];
  dose: string | null;
  schema: Column[];
  derived: { name: string; sql: string }[];
  features: string[];
  score_columns: string[];
  data: DataSummary;
  reports: { training: boolean; evaluation: boolean; check: boolean; profile: boolean };
  targets: { outcome: string; arm: string }[];
}

export interface ModelDetail extends ModelEntry {
  card: string;
  config: Record<string, unknown>;
}

export interface ModelList {
  active: string | null;
  previous: string | null;
  models: ModelEntry[];
}

export interface DataSummary {
  paths: string[];
  where: string | null;
  fingerprint: string;
  n_rows_read: number;
  n_rows: number;
  n_holdout: number;
}

export interface TrainingContrast {
  outcome: string;
  arm: string;
  ate: Estimate;
  estimators?: Record<string, Estimate>;
  relative_lift?: Estimate;
  incremental?: Estimate;
  control_mean?: Estimate;
  treated_mean?: Estimate;
}

export interface Training {
  n_rows: number;
  n_holdout: number;
  arms: Record<string, number>;
  contrasts: TrainingContrast[];
}

export interface Decile {
  decile: number;
  mean_score: number;
  n_treated: number;
  n_control: number;
  mean_treated: number | null;
  mean_control: number | null;
  uplift: Estimate;
  effect: Estimate;
}

export interface EvaluationContrast {
  outcome: string;
  arm: string;
  metrics: Record<string, Estimate>;
  curves: Partial<Record<'qini' | 'gain' | 'uplift' | 'toc', CurvePoint[]>>;
  deciles: Decile[];
  /** Half-sample draws of metrics; equal rows and seed give paired draws. */
  draws?: Record<string, number[]>;
}

export interface Evaluation {
  held_out: boolean;
  n_rows: number;
  contrasts: EvaluationContrast[];
}

export interface Gate {
  name: string;
  passed: boolean;
  value: number | null;
  limit: number | null;
  detail: string;
}

export interface BalanceRow {
  feature: string;
  arm: string;
  smd: number | null;
  part: string;
  p: number | null;
  p_bonferroni: number | null;
  missing_treated: number;
  missing_control: number;
}

export interface Check {
  n_rows: number;
  arms: Record<string, number> | null;
  gates: Gate[];
  balance: BalanceRow[];
  warnings: string[];
  passed: boolean;
  smd_max?: number;
}

export interface NumberProfile {
  name: string;
  kind: 'number';
  whole: boolean;
  missing: number;
  lower: number;
  upper: number;
  typical: number;
  quantiles: [number, number][];
}

export interface CategoryProfile {
  name: string;
  kind: 'category';
  missing: number;
  typical: string | null;
  levels: { value: string; share: number }[];
  other: number;
}

export type ColumnProfile = NumberProfile | CategoryProfile;

export interface Reports {
  model: { name: string; id: string };
  training: Training;
  warnings: string[];
  evaluation: Evaluation | null;
  check: Check | null;
  profile: { n_rows: number; columns: ColumnProfile[] } | null;
  units: Record<string, 'share' | 'number'>;
  data: DataSummary;
  card: string;
}

/** What a form or a file brings for one person. */
export type Row = Record<string, number | string | boolean | null>;

export interface RowProblem {
  column: string | null;
  value: string | null;
  message: string;
  hint?: string;
}

export interface HeldOutGroup {
  decile: number;
  of: number;
  effect: Estimate;
  uplift: Estimate;
  score_from: number | null;
  score_to: number | null;
}

export interface SimulatedContrast {
  arm: string;
  uplift: number;
  lower: number | null;
  upper: number | null;
  group: HeldOutGroup | null;
}

export interface SimulatedOutcome {
  outcome: string;
  arms: { arm: string; mean: number | null }[];
  best_arm: string | null;
  contrasts: SimulatedContrast[];
}

export interface SimulatedRow {
  input: Row;
  derived: Row;
  outcomes: SimulatedOutcome[];
  warnings: { column: string; kind: string; message: string }[];
}

export interface SweepPoint {
  value: number | string;
  outcomes?: SimulatedOutcome[];
  error?: RowProblem;
}

export interface Simulation {
  model: { name: string; id: string };
  rows: (SimulatedRow | { error: RowProblem })[];
  sweep: { feature: string; points: SweepPoint[] } | null;
}

export type SweepRequest =
  | { row: number; feature: string; from: number; to: number; steps: number }
  | { row: number; feature: string; values: string[] };

export interface TargetPoint {
  fraction: number;
  threshold: number | null;
  n_targeted: number;
  cost: number;
  profit: Estimate;
  incremental_outcomes: Estimate;
  over_random: Estimate;
}

export interface Targeting {
  outcome: string;
  arm: string;
  n_holdout: number;
  population: number;
  points: TargetPoint[];
  best: TargetPoint;
  chosen: TargetPoint;
  treat_everyone: TargetPoint;
  caveats: string[];
}

export interface LiveScore {
  time: string;
  id: string | null;
  cate: Record<string, number | null>;
  model: string | { name: string };
}

export interface Tick {
  time: string;
  uptime_seconds: number;
  model: { name: string; id: string } | null;
  requests_per_second: number;
  rows_per_second: number;
  errors_per_second: number;
  latency_ms: { p50: number | null; p95: number | null; p99: number | null };
  in_flight: number;
  log: { queued: number; written: number; lost: number } | null;
  drift: { n_rows: number; needed: number; columns: { column: string; psi: number; ks: number | null; alarm: boolean }[] };
  last: LiveScore[];
}
