import type { ContainerState } from '../host/containers.ts';
import { HostError } from '../host/errors.ts';
import type { Host } from '../host/host.ts';
import { samePlainData } from '../host/same.ts';
import { SEND, type Stage, type Step, targetOf, type Verb } from '../host/steps.ts';
import type { PolicyReference } from '../host/supervision.ts';
import { type MemoryObserved, observeMemory, planMemory } from '../memory/plan.ts';
import type { MemoryPolicy } from '../memory/policy.ts';
import { type Asked, changeOf, endingOf, readAsked } from './asked.ts';
import { endedAmong, planContainers } from './containers.ts';
import type { Desired, DesiredContainer } from './desired.ts';
import { EngineError } from './errors.ts';
import type { DeathObservation, Observation, ObservationSink } from './observation.ts';
import { mergePlans, type Plan } from './plan.ts';

const TICK_EVERY_MS = 1000;

/** What nobody reported is found this often. */
const DRIFT_EVERY_MS = 60_000;

/**
 * The cgroup of a dead container is cleared away after this: the supervisor leaves out for a second what a victim
 * still holds, and can read that only while the cgroup is there.
 */
const CLEAR_AFTER_MS = 1500;

/** A plan that is not empty after so many rounds of acting will not become so. */
const ROUNDS_MAX = 5;

export interface EngineOptions {
  /** Finds a policy that was checked before; throws where there is none. */
  readonly policies: (reference: PolicyReference) => MemoryPolicy;
  readonly sink: ObservationSink;
  /** The host's monotonic clock at the start of the run: observations count from there. */
  readonly zeroMs: number;
  /** Called after every batch sent to the host: where a simulation checks its invariants. */
  readonly afterBatch?: () => Promise<void>;
}

/** What a host shows of itself. */
export interface Observed {
  readonly memory: MemoryObserved;
  readonly containers: readonly ContainerState[];
}

/** Reads back everything that the engine plans by. */
export const observe = async (host: Host): Promise<Observed> => ({
  memory: await observeMemory(host),
  containers: await host.containers.list(),
});

/** From what is to what is asked, over all subsystems; nothing where they agree. */
export function planFrom(asked: Asked, observed: Observed, policies: EngineOptions['policies']): Plan {
  const wanted = wantedOf(asked);
  const memory = asked.desired?.memory ?? null;
  return mergePlans([
    planMemory(memory, memory && policies(memory.policy), wanted, observed.memory),
    planContainers(wanted, observed.containers),
  ]);
}

const wantedOf = ({ desired, ended }: Asked): DesiredContainer[] =>
  (desired?.containers ?? []).filter(({ name }) => !ended.has(name));

/**
 * Brings one host to what is asked of it and keeps it there. What is asked is in the store before the first step is
 * taken; what is, is read from the host each time; so an engine that crashed anywhere is followed by one that does not
 * need to know where. Calls wait for each other.
 */
export class Engine {
  readonly #host: Host;
  readonly #options: EngineOptions;
  #last: Promise<unknown> = Promise.resolve();
  #asked: Asked | undefined;
  /** When a tick next compares what is with what is asked; earlier where something is known to differ. */
  #convergeAtMs = 0;
  readonly #killed = new Set<string>();

  constructor(host: Host, options: EngineOptions) {
    this.#host = host;
    this.#options = options;
  }

  /** Makes this what is asked of the host (null: nothing), and brings the host to it. @throws EngineError where the host refuses a step; ticks try again. */
  ask(desired: Desired | null): Promise<void> {
    return this.#exclusively(async () => {
      const before = await this.#readAsked();
      const to = desired && {
        ...desired,
        containers: desired.containers.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      };
      await this.#host.store.commit(changeOf(before, to));
      this.#asked = undefined;
      this.#tellChange(before.desired, to);
      await this.#converge();
    });
  }

  /** Takes over after another engine, crashed or stopped, and brings the host to what was asked of it. @throws EngineError */
  recover(): Promise<void> {
    return this.#exclusively(async () => {
      const { desired } = await this.#readAsked();
      this.#note(
        'recovery',
        `took over; ${desired === null ? 'nothing was asked' : `${desired.containers.length} containers were asked for`}`,
      );
      await this.#converge();
    });
  }

  /** What `ask` would do now, without doing it. */
  planFor(desired: Desired | null): Promise<Plan> {
    return this.#exclusively(async () => {
      const { ended } = await this.#readAsked();
      return planFrom({ desired, ended }, await observe(this.#host), this.#options.policies);
    });
  }

  /**
   * Takes what the supervisor saw, notices who is gone, cleans up after them, and now and then looks for drift. What the
   * host refuses is told, and tried again at the next tick.
   */
  async tick(): Promise<void> {
    try {
      await this.#exclusively(() => this.#tick());
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      this.#convergeAtMs = 0;
      this.#tell({ kind: 'note', atMs: this.#nowMs(), about: 'trouble', message: error.message });
    }
  }

  /** Ticks each second of the host's clock until the signal. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const sinceTick = (this.#host.clock.monotonicMs() - this.#options.zeroMs) % TICK_EVERY_MS;
      await this.#host.clock.sleep(TICK_EVERY_MS - sinceTick, signal);
      if (!signal.aborted) await this.tick();
    }
  }

  async #tick(): Promise<void> {
    this.#takeEvents();
    const nowMs = this.#host.clock.monotonicMs();
    if (await this.#noteDeaths(await this.#host.containers.list())) {
      this.#convergeAtMs = Math.min(this.#convergeAtMs, nowMs + CLEAR_AFTER_MS);
    }
    if (nowMs >= this.#convergeAtMs) await this.#converge();
  }

  async #converge(): Promise<void> {
    this.#convergeAtMs = 0;
    for (let round = 0; ; round++) {
      const observed = await observe(this.#host);
      await this.#noteDeaths(observed.containers);
      const asked = await this.#readAsked();
      const plan = planFrom(asked, observed, this.#options.policies);
      if (plan.length === 0) break;
      if (round === ROUNDS_MAX)
        throw new Error(`the host does not settle: after ${round} rounds still ${describe(plan)}`);
      for (const stage of plan) await this.#act(stage, asked);
    }
    this.#convergeAtMs = this.#host.clock.monotonicMs() + DRIFT_EVERY_MS;
  }

  async #act(stage: Stage, asked: Asked): Promise<void> {
    const batches = Map.groupBy(stage, (step) => step.verb);
    for (const [verb, steps] of batches) {
      const { applied, error } = await send(this.#host, verb, steps);
      for (const step of steps.slice(0, applied)) this.#tellStep(step, asked);
      await this.#options.afterBatch?.();
      const failed = steps[applied];
      if (error === undefined || failed === undefined) continue;
      this.#tell({
        kind: 'step',
        atMs: this.#nowMs(),
        verb,
        target: targetOf(failed),
        why: failed.why,
        error: error.message,
      });
      throw new EngineError(`${error.message}; wanted because: ${failed.why}`, error);
    }
  }

  /** Writes down the ends of containers before anything of theirs is cleared away: an end cannot be read back after that. */
  async #noteDeaths(containers: readonly ContainerState[]): Promise<boolean> {
    const asked = await this.#readAsked();
    const gone = endedAmong(wantedOf(asked), containers);
    if (gone.length === 0) return false;
    this.#takeEvents();
    await this.#host.store.commit(endingOf(gone.map(({ name }) => name)));
    this.#asked = { ...asked, ended: new Set([...asked.ended, ...gone.map(({ name }) => name)]) };
    for (const state of gone)
      this.#tell({ kind: 'death', atMs: this.#nowMs(), container: state.name, cause: this.#causeOf(state) });
    return true;
  }

  #causeOf({ name, oomKilled }: ContainerState): DeathObservation['cause'] {
    if (this.#killed.delete(name)) return 'supervisor';
    return oomKilled ? 'kernel' : 'exit';
  }

  async #readAsked(): Promise<Asked> {
    return (this.#asked ??= await readAsked(this.#host.store));
  }

  #tellChange(before: Desired | null, after: Desired | null): void {
    const atMs = this.#nowMs();
    if (after !== null && !samePlainData(before?.memory, after.memory)) {
      this.#tell({ kind: 'line', atMs, policy: after.memory.policy.name, ...after.memory.line });
    }
    const requests = new Map(before?.containers.map(({ name, requestBytes }) => [name, requestBytes]));
    for (const { name, requestBytes } of after?.containers ?? []) {
      const was = requests.get(name);
      if (was !== undefined && was !== requestBytes)
        this.#tell({ kind: 'request', atMs, container: name, requestBytes });
    }
  }

  #tellStep(step: Step, asked: Asked): void {
    const atMs = this.#nowMs();
    this.#tell({ kind: 'step', atMs, verb: step.verb, target: targetOf(step), why: step.why });
    if (step.verb === 'containers.start') {
      const requestBytes = asked.desired?.containers.find(({ name }) => name === step.with.name)?.requestBytes ?? 0;
      this.#tell({ kind: 'start', atMs, container: step.with.name, requestBytes });
    }
    if (step.verb === 'containers.stop') this.#tell({ kind: 'death', atMs, container: step.with, cause: 'stopped' });
  }

  /** Passes on what the supervisor saw, so that a recording stands in order of time. */
  #takeEvents(): void {
    for (const event of this.#host.supervision.take()) {
      if (event.kind === 'decision' && event.outcome === 'killed') this.#killed.add(event.container);
      this.#options.sink({ ...event, atMs: round(event.atMs - this.#options.zeroMs) });
    }
  }

  #note(about: 'recovery', message: string): void {
    this.#tell({ kind: 'note', atMs: this.#nowMs(), about, message });
  }

  #tell(observation: Observation): void {
    this.#takeEvents();
    this.#options.sink(observation);
  }

  #nowMs(): number {
    return round(this.#host.clock.monotonicMs() - this.#options.zeroMs);
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => undefined);
    return mine.catch((error: unknown) => {
      throw error instanceof HostError ? new EngineError(error.message, error) : error;
    });
  }
}

const send = (host: Host, verb: Verb, steps: readonly Step[]) =>
  // Each step of a group carries what its verb takes: TypeScript cannot follow that through the grouping.
  (SEND[verb] as (host: Host, batch: readonly Step['with'][]) => ReturnType<(typeof SEND)[Verb]>)(
    host,
    steps.map((step) => step.with),
  );

const describe = (plan: Plan): string =>
  plan
    .flat()
    .slice(0, 3)
    .map((step) => `${step.verb} ${targetOf(step)} (${step.why})`)
    .join(', ');

/** Microseconds are as fine as a recording needs. */
const round = (ms: number): number => Math.round(ms * 1000) / 1000;
