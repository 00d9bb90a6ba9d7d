import type { ContainerState } from '../host/containers.ts';
import { HostError } from '../host/errors.ts';
import type { Host } from '../host/host.ts';
import { samePlainData } from '../host/same.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import { type Stage, type Step, targetOf } from '../host/steps.ts';
import { PolicyFault } from '../memory/checked.ts';
import { EgressError } from '../egress/desired.ts';
import { NetworkError } from '../network/desired.ts';
import type { NetworkObserved } from '../network/observe.ts';
import { type Asked, changeOf, endingOf, readAsked, wantedOf } from './asked.ts';
import { endedAmong } from './containers.ts';
import type { Desired, DesiredContainer } from './desired.ts';
import { EngineError } from './errors.ts';
import { Networking } from './networking.ts';
import type { DeathObservation, Observation, ObservationSink } from './observation.ts';
import type { Plan } from './plan.ts';
import { type Acting, isTooEarly, keyOf, send } from './sending.ts';
import { SetAside } from './set-aside.ts';
import { byName, observe, holdersOf, planFrom, type Policies, reachesInto, untouchedNamespaces } from './planning.ts';

/** What need not be read back: what was found just now, and namespaces of which nothing new is asked. */
interface Look {
  found?: NetworkObserved | undefined;
  unseen?: ReadonlySet<NamespaceName> | undefined;
}

const TICK_EVERY_MS = 1000;

/** What nobody reported is found this often; in networks, where somebody's traffic vanishes meanwhile, sooner. */
const DRIFT_EVERY_MS = 60_000;
const NETWORK_DRIFT_EVERY_MS = 10_000;

/**
 * The cgroup of a dead container is cleared away after this: the supervisor leaves out for a second what a victim
 * still holds, and can read that only while the cgroup is there.
 */
const CLEAR_AFTER_MS = 1500;

/** A plan that stays the same after so many rounds of acting will not become empty. */
const SAME_ROUNDS_MAX = 3;

export interface EngineOptions {
  readonly policies: Policies;
  readonly sink: ObservationSink;
  /** The host's monotonic clock at the start of the run: observations count from there. */
  readonly zeroMs: number;
  /** Called after every batch sent to the host: where a simulation checks its invariants. */
  readonly afterBatch?: () => Promise<void>;
}

/**
 * Brings one host to what is asked of it and keeps it there. What is asked is in the store before the first step is
 * taken; what is, is read from the host each time; so an engine that crashed anywhere is followed by one that does not
 * need to know where. Calls wait for each other.
 */
export class Engine {
  readonly #host: Host;
  readonly #options: EngineOptions;
  readonly #networking: Networking;
  #last: Promise<unknown> = Promise.resolve();
  #asked: Asked | undefined;
  /** False: it was so, and may be otherwise in the store. */
  #isAskedSure = false;
  /** A store that did not answer is not asked again before. */
  #unansweredUntilMs = 0;
  /** When a tick next compares what is with what is asked; earlier where something is known to differ. */
  #convergeAtMs = 0;
  /** Of whom a kill was told, and not yet the death. */
  readonly #killed = new Set<string>();
  /** The dead of the last moment, and until when their cgroups stay. */
  readonly #lingering = new Map<string, { readonly container: DesiredContainer; readonly untilMs: number }>();
  /** Limits that did not fit yet: told once, tried at every tick. */
  #putOff = new Set<string>();
  /** Was the host last found to be what is asked? */
  #isAtRest = false;

  constructor(host: Host, options: EngineOptions) {
    this.#host = host;
    this.#options = options;
    this.#networking = new Networking(host, (told) => this.#tell({ ...told, atMs: this.#nowMs() }));
  }

  /** Makes this what is asked of the host (null: nothing), and brings the host to it. @throws EngineError where the host refuses a step; ticks try again. */
  ask(desired: Desired | null): Promise<void> {
    return this.#exclusively(async () => {
      const before = await this.#readAsked();
      const to = desired && { ...desired, containers: desired.containers.toSorted(byName) };
      if (to === null) this.#lingering.clear();
      // One that is asked for again begins in a cgroup of its own: the last one's goes first.
      const known = new Set(before.desired?.containers.map(({ name }) => name));
      const again = (to?.containers ?? []).filter(({ name }) => !known.has(name) && this.#lingering.delete(name));
      if (again.length > 0) await this.#converge();
      const asked = { ...before, desired: to };
      // A thousand containers are not looked into for one more: whether somebody changed them is found by the ticks.
      const unseen = this.#isAtRest ? untouchedNamespaces(before, asked) : undefined;
      // A commit whose answer is lost may have taken effect.
      this.#isAskedSure = false;
      const found = await this.#networking.take(asked, changeOf(before, to), unseen);
      this.#asked = undefined;
      this.#tellChange(before.desired, to);
      const dueMs = this.#convergeAtMs;
      await this.#converge({ found, unseen });
      // The next look for drift is due when it was.
      if (unseen !== undefined && unseen.size > 0) this.#convergeAtMs = Math.min(this.#convergeAtMs, dueMs);
    });
  }

  /** Takes over after another engine, crashed or stopped, and brings the host to what was asked of it. @throws EngineError */
  recover(): Promise<void> {
    return this.#exclusively(async () => {
      const { desired } = await this.#knownAsked();
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
      const asked = { ...(await this.#readAsked()), desired };
      const observed = await observe(this.#host, asked);
      const { imagined, shared } = await this.#networking.imagine(asked, observed.network);
      return planFrom(imagined, shared, observed, this.#options.policies, this.#dead());
    });
  }

  /**
   * Takes what the supervisor saw, notices who is gone, cleans up after them, and now and then looks for drift. What the
   * host refuses is told, and tried again at the next tick.
   */
  async tick(): Promise<void> {
    await this.#orTellTrouble(() => this.#exclusively(() => this.#tick()));
  }

  async #orTellTrouble(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof EngineError || error instanceof HostError)) throw error;
      this.#convergeAtMs = 0;
      this.#tell({ kind: 'note', atMs: this.#nowMs(), about: 'trouble', message: error.message });
    }
  }

  /** Another host changed what hosts share: at once, because containers wait for each other. */
  async #follow(): Promise<void> {
    if (await this.#networking.isStale(await this.#knownAsked())) await this.#converge();
  }

  /** Ticks each second of the host's clock until the signal. */
  async watch(signal: AbortSignal): Promise<void> {
    let sleep = new AbortController();
    let changed = false;
    const notify = (): void => {
      changed = true;
      sleep.abort();
    };
    let watches = await this.#networking.watch(notify, signal);
    const { clock } = this.#host;
    const nextTickMs = (): number => {
      const nowMs = clock.monotonicMs();
      return nowMs + TICK_EVERY_MS - ((nowMs - this.#options.zeroMs) % TICK_EVERY_MS);
    };
    for (let tickMs = nextTickMs(); !signal.aborted;) {
      // However much others change, a tick comes when it is due.
      if (clock.monotonicMs() >= tickMs) {
        watches ||= await this.#networking.watch(notify, signal);
        await this.tick();
        tickMs = nextTickMs();
      } else if (changed) {
        changed = false;
        await this.#orTellTrouble(() => this.#exclusively(() => this.#follow()));
      } else {
        sleep = new AbortController();
        await clock.sleep(tickMs - clock.monotonicMs(), AbortSignal.any([signal, sleep.signal]));
      }
    }
  }

  async #tick(): Promise<void> {
    this.#takeEvents();
    await this.#noteDeaths(await this.#host.containers.list());
    // A machine without its supervisor has only the ceiling: that cannot wait for the next look for drift.
    const { desired } = await this.#knownAsked();
    if (desired?.memory != null && (await this.#host.supervision.list()).length === 0) this.#convergeAtMs = 0;
    if (await this.#networking.renew()) this.#convergeAtMs = 0;
    if (this.#host.clock.monotonicMs() >= this.#convergeAtMs) await this.#converge();
  }

  async #converge({ found, unseen }: Look = {}): Promise<void> {
    this.#convergeAtMs = 0;
    this.#isAtRest = false;
    const putOff = new Set<string>();
    let last = '';
    for (let same = 0; same < SAME_ROUNDS_MAX;) {
      // What takes long must not cost the host its leases.
      await this.#networking.renew();
      const observed = await observe(this.#host, await this.#knownAsked(), { found, unseen });
      found = undefined;
      await this.#noteDeaths(observed.containers);
      const known = await this.#knownAsked();
      const {
        shared,
        hasTaken,
        kept: asked,
        isSure,
      } = await this.#networking.keep(known, observed.network, observed.shaper);
      this.#asked = asked;
      this.#isAskedSure &&= isSure;
      if (hasTaken && unseen !== undefined && unseen.size > 0) {
        // Whoever has another address now may be one that was not looked at.
        unseen = undefined;
        continue;
      }
      const plan = planFrom(asked, shared, observed, this.#options.policies, this.#dead())
        .map((stage) => stage.filter((step) => !putOff.has(keyOf(step))))
        .filter((stage) => stage.length > 0);
      if (unseen !== undefined && reachesInto(plan, unseen)) {
        // Whoever was there is gone, or changed by hand.
        unseen = undefined;
        continue;
      }
      if (plan.length === 0) {
        this.#asked = await this.#networking.settled(asked, shared, observed.network);
        this.#rest(putOff);
        this.#isAtRest = true;
        return;
      }
      const steps = plan.flat().map(keyOf).join();
      same = steps === last ? same + 1 : 0;
      last = steps;
      const setAside = new SetAside(() => holdersOf(asked, observed.network));
      for (const stage of plan) if (!(await this.#act(stage, { asked, observed, putOff, setAside }))) break;
      setAside.demand();
    }
    throw new EngineError(`the host does not settle: again and again there is to do: ${last}`);
  }

  /** Until something is known to be different: what was put off is tried again at the next tick. */
  #rest(putOff: Set<string>): void {
    this.#putOff = putOff;
    const nowMs = this.#host.clock.monotonicMs();
    const driftEveryMs = this.#asked?.desired?.network === undefined ? DRIFT_EVERY_MS : NETWORK_DRIFT_EVERY_MS;
    const clearings = [...this.#lingering.values()].map(({ untilMs }) => untilMs);
    this.#convergeAtMs = putOff.size > 0 ? nowMs : Math.min(nowMs + driftEveryMs, ...clearings);
  }

  /** Dead containers whose cgroups stay for now; those whose time is over are forgotten. */
  #dead(): DesiredContainer[] {
    const nowMs = this.#host.clock.monotonicMs();
    for (const [name, { untilMs }] of this.#lingering) if (nowMs >= untilMs) this.#lingering.delete(name);
    return [...this.#lingering.values()].map(({ container }) => container);
  }

  /** False: the host was taken for dead meanwhile, and must look again what is its own. */
  async #act(stage: Stage, { asked, observed, putOff, setAside }: Acting): Promise<boolean> {
    const batches = Map.groupBy(stage, (step) => step.verb);
    for (const [verb, all] of batches) {
      const steps = all.filter((step) => !setAside.holds(step));
      for (let from = 0; from < steps.length;) {
        // What takes long must not cost the host its leases.
        if (await this.#networking.renew()) return false;
        const { applied, error } = await send(this.#host, verb, steps.slice(from));
        for (const step of steps.slice(from, from + applied)) this.#tellStep(step, asked);
        await this.#options.afterBatch?.();
        const failed = steps[from + applied];
        from += applied + 1;
        if (error === undefined || failed === undefined) continue;
        const mayWait = isTooEarly(failed, error, observed);
        if (mayWait) putOff.add(keyOf(failed));
        if (!mayWait || !this.#putOff.has(keyOf(failed))) this.#tellRefusal(failed, error);
        if (!mayWait) setAside.take(failed, new EngineError(`${error.message}; wanted because: ${failed.why}`, error));
      }
    }
    return true;
  }

  /** Writes down the ends of containers before anything of theirs is cleared away: an end cannot be read back after that. */
  async #noteDeaths(containers: readonly ContainerState[]): Promise<void> {
    const asked = await this.#knownAsked();
    const wanted = wantedOf(asked);
    const gone = endedAmong(wanted, containers);
    if (gone.length === 0) return;
    this.#takeEvents();
    await this.#host.store.commit(
      endingOf(
        asked.host,
        gone.map(({ name }) => name),
      ),
    );
    this.#asked = { ...asked, ended: new Set([...asked.ended, ...gone.map(({ name }) => name)]) };
    const untilMs = this.#host.clock.monotonicMs() + CLEAR_AFTER_MS;
    for (const state of gone) {
      this.#lingering.set(state.name, { container: wanted.find(({ name }) => name === state.name)!, untilMs });
      this.#tell({ kind: 'death', atMs: this.#nowMs(), container: state.name, cause: this.#causeOf(state) });
    }
    this.#convergeAtMs = Math.min(this.#convergeAtMs, untilMs);
  }

  #causeOf({ name, oomKilled }: ContainerState): DeathObservation['cause'] {
    if (this.#killed.delete(name)) return 'supervisor';
    return oomKilled ? 'kernel' : 'exit';
  }

  /** What is asked, by the store. @throws HostError */
  async #readAsked(): Promise<Asked> {
    if (this.#asked === undefined || !this.#isAskedSure) {
      this.#asked = await readAsked(this.#host.store, this.#host.name);
      this.#isAskedSure = true;
    }
    return this.#asked;
  }

  /** What is asked, as far as is known: while the store does not answer, what was asked before goes on. @throws HostError where it was never read */
  async #knownAsked(): Promise<Asked> {
    const nowMs = this.#host.clock.monotonicMs();
    if (this.#asked !== undefined && nowMs < this.#unansweredUntilMs) return this.#asked;
    try {
      return await this.#readAsked();
    } catch (error) {
      if (!(error instanceof HostError) || this.#asked === undefined) throw error;
      this.#unansweredUntilMs = this.#host.clock.monotonicMs() + TICK_EVERY_MS;
      return this.#asked;
    }
  }

  #tellChange(before: Desired | null, after: Desired | null): void {
    const atMs = this.#nowMs();
    if (after?.memory != null && !samePlainData(before?.memory, after.memory)) {
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
      const { name } = step.with;
      const { requestBytes, priority } = asked.desired!.containers.find((container) => container.name === name)!;
      this.#killed.delete(name);
      this.#tell({ kind: 'start', atMs, container: name, requestBytes, priority });
    }
    if (step.verb === 'containers.stop') {
      const cause = this.#killed.delete(step.with) ? 'supervisor' : 'stopped';
      this.#tell({ kind: 'death', atMs, container: step.with, cause });
    }
  }

  #tellRefusal(step: Step, error: HostError): void {
    const { verb, why } = step;
    this.#tell({ kind: 'step', atMs: this.#nowMs(), verb, target: targetOf(step), why, error: error.message });
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
      throw error instanceof HostError ||
        error instanceof PolicyFault ||
        error instanceof NetworkError ||
        error instanceof EgressError
        ? new EngineError(error.message, error)
        : error;
    });
  }
}

/** Microseconds are as fine as a recording needs. */
const round = (ms: number): number => Math.round(ms * 1000) / 1000;
