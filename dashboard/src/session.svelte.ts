// What the pages share: the server, its models, and the reports of the model looked at.
import { api, Problem } from './api/client';
import type { EvaluationContrast, ModelEntry, ModelList, Reports, ServerInfo, TrainingContrast } from './api/contract';
import { effectUnit, type OutcomeKind, type Unit } from './numbers/format';
import { route } from './route.svelte';

/** Something that is fetched: on its way, there, or failed. */
export class Resource<T> {
  value = $state.raw<T | null>(null);
  problem = $state.raw<Problem | null>(null);
  busy = $state(false);
  #latest = 0;

  /** Fetches; an older answer never overwrites a newer one. */
  async load(fetching: () => Promise<T>): Promise<void> {
    const mine = ++this.#latest;
    this.busy = true;
    try {
      const value = await fetching();
      if (mine !== this.#latest) return;
      this.value = value;
      this.problem = null;
    } catch (cause) {
      if (mine !== this.#latest) return;
      if (cause instanceof DOMException && cause.name === 'AbortError') return;
      this.problem = cause instanceof Problem ? cause : new Problem(0, 'unreadable', `The answer could not be read: ${String(cause)}`);
    } finally {
      if (mine === this.#latest) this.busy = false;
    }
  }

  clear(): void {
    this.#latest++;
    this.value = null;
    this.problem = null;
    this.busy = false;
  }
}

/** One arm against the control, for one outcome: what most pages are about. */
export interface Subject {
  model: ModelEntry;
  reports: Reports;
  outcome: string;
  arm: string;
  kind: OutcomeKind;
  unit: Unit;
  /** Singular label such as “arm 1”. */
  training: TrainingContrast | null;
  evaluation: EvaluationContrast | null;
}

class Session {
  server = new Resource<ServerInfo>();
  models = new Resource<ModelList>();
  reports = new Resource<Reports>();
  needsKey = $state(false);
  #reportsOf = '';

  /** Fetches the server and its models; again after a key was given or a model changed. */
  async start(): Promise<void> {
    await Promise.all([this.server.load(api.server), this.models.load(api.models)]);
    const refused = [this.server.problem, this.models.problem].some((problem) => problem?.status === 401);
    this.needsKey = refused;
    if (!refused) await this.loadReports(true);
  }

  /** Fetches the models again, e.g. after a promotion. */
  async reloadModels(): Promise<void> {
    await this.models.load(api.models);
    await this.loadReports(true);
  }

  /** The model the address names, or the active one. */
  get model(): ModelEntry | null {
    const list = this.models.value;
    if (!list) return null;
    const asked = route.parameters['model'];
    return list.models.find((model) => model.name === asked) ?? list.models.find((model) => model.name === list.active) ?? list.models[0] ?? null;
  }

  async loadReports(again = false): Promise<void> {
    const model = this.model;
    if (!model) return;
    const key = `${model.name}@${model.id}`;
    if (key === this.#reportsOf && !again) return;
    if (key !== this.#reportsOf) this.reports.clear();
    this.#reportsOf = key;
    await this.reports.load(() => api.reports(model.name));
  }

  /** What the pages talk about now; null until the reports are there. */
  get subject(): Subject | null {
    const model = this.model;
    const reports = this.reports.value;
    if (!model || !reports || reports.model.name !== model.name) return null;
    return subjectOf(model, reports, route.parameters['outcome'], route.parameters['arm']);
  }
}

/** The contrast asked for, or the model's first. */
export function subjectOf(model: ModelEntry, reports: Reports, outcome?: string, arm?: string): Subject | null {
  const targets = model.targets;
  const target = targets.find((t) => t.outcome === outcome && t.arm === arm) ?? targets.find((t) => t.outcome === outcome) ?? targets[0];
  if (!target) return null;
  const kind = model.outcomes.find((o) => o.name === target.outcome)?.kind ?? 'continuous';
  const same = (c: { outcome: string; arm: string }) => c.outcome === target.outcome && c.arm === target.arm;
  return {
    model,
    reports,
    outcome: target.outcome,
    arm: target.arm,
    kind,
    unit: reports.units[target.outcome] === 'share' ? 'points' : effectUnit(kind),
    training: reports.training.contrasts.find(same) ?? null,
    evaluation: reports.evaluation?.contrasts.find(same) ?? null,
  };
}

/** The page's one session. */
export const session = new Session();
