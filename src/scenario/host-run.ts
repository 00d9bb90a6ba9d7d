import type { Desired } from '../engine/desired.ts';
import type { NoteObservation, Observation, ObservationSink } from '../engine/observation.ts';
import type { Clock } from '../host/clock.ts';
import { EngineCrash, HostError } from '../host/errors.ts';
import type { Host } from '../host/host.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import type { EngineFactory, ScenarioBackend, ScenarioEngine } from './run.ts';
import { type ByHand, doByHand } from './by-hand.ts';
import { leaseIn, type Leases } from './leases.ts';
import type { Action, Attachment, ScenarioContainer } from './scenario.ts';

/** Microseconds are as fine as a recording needs. */
export const sinceMs = (zeroMs: number, clock: Clock): number =>
  Math.round((clock.monotonicMs() - zeroMs) * 1000) / 1000;

export const asked = ({
  name,
  requestBytes,
  priority,
  workload,
  attachments,
  egress,
}: ScenarioContainer): Desired['containers'][number] => ({
  name,
  requestBytes,
  priority,
  workload,
  ...(attachments !== undefined && { attachments }),
  ...(egress !== undefined && { egress }),
});

/** After a crash that a fault caused, an engine is back after so long: what a service manager takes. */
const RESTART_AFTER_MS = 1000;

/** A host that refuses is asked again after so long. */
const RETRY_AFTER_MS = 1000;

/** An engine that crashes this often in one run will not come back. */
const CRASHES_MAX = 1000;

interface HostRunOptions {
  readonly sink: ObservationSink;
  readonly zeroMs: number;
  readonly engineFor: EngineFactory;
  readonly hasFaults: boolean;
  readonly desired: Desired;
  readonly leases: Leases;
  /** The scenario's file, for errors in what is done by hand. */
  readonly file: string;
}

/** One host of a run: its engine, and the one after that when it crashed. */
export class HostRun {
  readonly name: string;
  readonly #backend: ScenarioBackend;
  readonly #options: HostRunOptions;
  readonly #ended = new AbortController();
  /** Told by the run itself; each waits until its engine has told what was seen before. */
  readonly #notes: Observation[] = [];
  #desired: Desired;
  #engine: Promise<ScenarioEngine> | undefined;
  #crashes = 0;
  #watching: Promise<void> = Promise.resolve();
  /** Asks again what was refused; undefined while nothing is. */
  #retrying: Promise<void> | undefined;
  /** Namespaces that somebody made by hand: on any host Plimsoll is told of its own alone. */
  readonly #ofOthers = new Set<NamespaceName>();
  /** While the host is silent: lets its next engine come. */
  #wake: (() => void) | undefined;

  constructor(name: string, backend: ScenarioBackend, options: HostRunOptions) {
    this.name = name;
    this.#backend = backend;
    this.#options = options;
    this.#desired = options.desired;
  }

  async begin(): Promise<void> {
    this.#engine = this.#connect();
    await this.#ask();
    this.#watching = this.#watch();
    // It is awaited in `settle`: until then a rejection must not count as unhandled.
    this.#watching.catch(() => undefined);
  }

  /** Does what the timeline says; of what may be refused a refusal is told, and then it is not asked any more. */
  async act(action: Action, containers: ReadonlyMap<string, ScenarioContainer>, mayBeRefused = false): Promise<void> {
    switch (action.kind) {
      case 'crash':
        this.#restart(this.#crashes, action.restartAfterMs);
        return;
      case 'hostDown':
        return this.#fallSilent(action.uplink);
      case 'hostUp':
        return this.#comeBack(action.uplink);
      case 'byHand':
        return this.#doByHand(action.changes, mayBeRefused);
      case 'start':
      case 'stop':
      case 'request':
      case 'memory':
      case 'attach':
      case 'detach':
      case 'egress':
        return this.#change(action, containers, mayBeRefused);
    }
  }

  async #doByHand(changes: readonly ByHand[], mayBeRefused: boolean): Promise<void> {
    for (const change of changes) {
      if (change.verb === 'namespaces.create') for (const name of change.with) this.#ofOthers.add(name);
      const leaseOf = leaseIn(this.#options.leases, this.#options.file);
      try {
        this.#note('timeline', `by hand: ${await doByHand(this.#backend.bystander(this.name), change, leaseOf)}`);
      } catch (error) {
        if (!mayBeRefused || !(error instanceof HostError)) throw error;
        this.tell({ kind: 'refusal', atMs: this.#nowMs(), message: `by hand: ${error.message}` });
      }
    }
  }

  async #change(
    action: Change,
    containers: ReadonlyMap<string, ScenarioContainer>,
    mayBeRefused: boolean,
  ): Promise<void> {
    const before = this.#desired;
    this.#desired = changed(before, action, containers);
    try {
      await this.#ask();
    } catch (error) {
      if (!mayBeRefused || !isDenial(error)) throw error;
      this.#desired = before;
      const container = 'container' in action ? { container: action.container } : {};
      this.tell({ kind: 'refusal', atMs: this.#nowMs(), ...container, message: error.message });
    }
  }

  /** Where a container is to be attached now; undefined where it is not to be there. */
  attachmentsOf(container: string): readonly Attachment[] | undefined {
    return this.#desired.containers.find(({ name }) => name === container)?.attachments;
  }

  /** Tells what was seen beside the engine, as of now. */
  tell(observation: Observation): void {
    this.#notes.push(observation);
  }

  /** Ends the watch and takes what is still to be seen. */
  async settle(): Promise<void> {
    this.#ended.abort();
    if (this.#wake === undefined) {
      await this.#watching;
      await this.#retrying;
      await this.#survive((engine) => engine.tick());
    }
    this.tellNotes();
  }

  /** Tells the notes up to this time. */
  tellNotes(untilMs = Number.POSITIVE_INFINITY): void {
    while (this.#notes.length > 0 && this.#notes[0]!.atMs <= untilMs) this.#options.sink(this.#notes.shift()!);
  }

  /** Brings the host back to nothing asked, whatever state it is in. */
  async clear(): Promise<void> {
    this.#ended.abort();
    this.#wake?.();
    await this.#watching.catch(() => undefined);
    await this.#retrying?.catch(() => undefined);
    if (this.#engine === undefined) return;
    await this.#survive((engine) => engine.ask(null)).catch((error: unknown) => {
      if (!this.#isDeclared(error)) throw error;
    });
  }

  /** Asks of the host what is wanted of it now; where it refuses, goes on asking while the timeline goes on. */
  async #ask(): Promise<void> {
    if (await this.#isTaken()) return;
    this.#retrying ??= this.#askAgain();
    this.#retrying.catch(() => undefined);
  }

  async #askAgain(): Promise<void> {
    do {
      await this.#backend.clock.sleep(RETRY_AFTER_MS, this.#ended.signal);
      if (this.#ended.signal.aborted) return;
    } while (!(await this.#isTaken()));
    this.#retrying = undefined;
  }

  /** Asks once. A refusal by the store leaves nothing behind that an engine could try again: only the run knows of it. */
  async #isTaken(): Promise<boolean> {
    try {
      await this.#survive((engine) => engine.ask(this.#desired));
      return true;
    } catch (error) {
      if (!this.#isDeclared(error)) throw error;
      this.#note('trouble', `${error.message}; it is asked again after ${RETRY_AFTER_MS} ms`);
      return false;
    }
  }

  async #watch(): Promise<void> {
    while (!this.#ended.signal.aborted) await this.#survive((engine) => engine.watch(this.#ended.signal));
  }

  /** Works with the engine of the moment, and with the next one where that crashes meanwhile. */
  async #survive(work: (engine: ScenarioEngine) => Promise<void>): Promise<void> {
    for (;;) {
      const crashes = this.#crashes;
      try {
        await work(await this.#engine!);
        return;
      } catch (error) {
        if (!(error instanceof EngineCrash)) throw error;
        this.#restart(crashes, RESTART_AFTER_MS);
      }
    }
  }

  /** Ends the engine, if it is still the one after so many crashes, and has another take over. */
  #restart(crashes: number, afterMs: number): void {
    if (crashes !== this.#crashes) return;
    this.#crashes++;
    if (this.#crashes > CRASHES_MAX)
      throw new Error(`the engine of ${this.name} crashed ${CRASHES_MAX} times: it does not come back`);
    this.#engine = this.#takeOver(afterMs);
    this.#engine.catch(() => undefined);
  }

  async #takeOver(afterMs: number): Promise<ScenarioEngine> {
    await this.#backend.crash(this.name);
    this.#note('crash', `the engine crashed; another takes over after ${afterMs} ms`);
    await this.#backend.clock.sleep(afterMs);
    return this.#recover();
  }

  /** To the others a host whose wire is dead is dead, whatever still runs on it. */
  async #fallSilent(uplink: string): Promise<void> {
    this.#crashes++;
    const awake = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    // Before the crash: whoever works with the engine of the moment turns to the next one at once.
    this.#engine = awake.then(() => (this.#ended.signal.aborted ? this.#connect() : this.#recover()));
    this.#engine.catch(() => undefined);
    await this.#backend.crash(this.name);
    await this.#setUplink(uplink, false);
    this.#note('timeline', 'the host falls silent: its engine is gone and its uplink down');
  }

  async #comeBack(uplink: string): Promise<void> {
    await this.#setUplink(uplink, true);
    this.#note('timeline', 'the host comes back');
    this.#wake?.();
    this.#wake = undefined;
    await this.#survive(async () => undefined);
  }

  async #setUplink(name: string, up: boolean): Promise<void> {
    const { error } = await this.#backend.bystander(this.name).links.set([{ namespace: '', name, set: { up } }]);
    if (error !== undefined) throw error;
  }

  async #recover(): Promise<ScenarioEngine> {
    const engine = await this.#connect();
    for (;;) {
      try {
        await engine.recover();
        return engine;
      } catch (error) {
        if (!this.#isDeclared(error)) throw error;
        await this.#backend.clock.sleep(RETRY_AFTER_MS);
      }
    }
  }

  async #connect(): Promise<ScenarioEngine> {
    const host = withoutThose(await this.#backend.connect(this.name), this.#ofOthers);
    const { sink, zeroMs } = this.#options;
    return this.#options.engineFor(host, {
      sink: (observation) => {
        this.tellNotes(observation.atMs);
        sink(observation);
      },
      zeroMs,
    });
  }

  /** Is it a refusal of a host whose scenario has faults? What a policy does wrong is none, nor what a real host refuses. */
  #isDeclared(error: unknown): error is Error {
    return this.#options.hasFaults && isRefusal(error);
  }

  /** What the supervisor saw before and no engine has taken yet is told first, so that a recording stands in order of time. */
  #note(about: NoteObservation['about'], message: string): void {
    this.#notes.push({ kind: 'note', atMs: this.#nowMs(), about, message });
  }

  #nowMs(): number {
    return sinceMs(this.#options.zeroMs, this.#backend.clock);
  }
}

const withoutThose = (host: Host, others: ReadonlySet<NamespaceName>): Host => ({
  ...host,
  namespaces: {
    create: (names) => host.namespaces.create(names),
    remove: (names) => host.namespaces.remove(names),
    list: async () => (await host.namespaces.list()).filter((name) => !others.has(name)),
  },
});

const isRefusal = (error: unknown): error is Error =>
  error instanceof HostError ||
  (error instanceof Error &&
    error.name === 'EngineError' &&
    (error.cause === undefined || error.cause instanceof HostError));

/** What is asked cannot be on this host: such errors say about whom they are. */
const isDenial = (error: unknown): error is Error =>
  error instanceof Error && error.cause instanceof Error && 'about' in error.cause;

type Change = Extract<Action, { kind: 'start' | 'stop' | 'request' | 'memory' | 'attach' | 'detach' | 'egress' }>;

function changed(desired: Desired, action: Change, all: ReadonlyMap<string, ScenarioContainer>): Desired {
  if (action.kind === 'memory') return { ...desired, memory: action.memory };
  const { containers } = desired;
  if (action.kind === 'start') return { ...desired, containers: [...containers, asked(all.get(action.container)!)] };
  if (action.kind === 'stop')
    return { ...desired, containers: containers.filter(({ name }) => name !== action.container) };
  return {
    ...desired,
    containers: containers.map((container) =>
      container.name === action.container ? withChange(container, action) : container,
    ),
  };
}

/** What becomes of a container that is there. */
function withChange(
  container: Desired['containers'][number],
  action: Extract<Change, { kind: 'request' | 'attach' | 'detach' | 'egress' }>,
): Desired['containers'][number] {
  const { attachments = [], egress: _, ...rest } = container;
  switch (action.kind) {
    case 'request':
      return { ...container, requestBytes: action.requestBytes };
    case 'attach':
      return { ...container, attachments: [...attachments, action.attachment] };
    case 'detach':
      return { ...container, attachments: attachments.filter(({ network }) => network !== action.network) };
    case 'egress':
      return {
        ...rest,
        ...(container.attachments !== undefined && { attachments }),
        ...(action.egress !== undefined && { egress: action.egress }),
      };
  }
}
