import type { Desired } from '../engine/desired.ts';
import type { NoteObservation, Observation, ObservationSink } from '../engine/observation.ts';
import type { Clock } from '../host/clock.ts';
import { EngineCrash, HostError } from '../host/errors.ts';
import type { EngineFactory, ScenarioBackend, ScenarioEngine } from './run.ts';
import { doByHand } from './by-hand.ts';
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
}: ScenarioContainer): Desired['containers'][number] => ({
  name,
  requestBytes,
  priority,
  workload,
  ...(attachments !== undefined && { attachments }),
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

  /** Does what the timeline says. */
  async act(action: Action, containers: ReadonlyMap<string, ScenarioContainer>): Promise<void> {
    switch (action.kind) {
      case 'crash':
        this.#restart(this.#crashes, action.restartAfterMs);
        return;
      case 'hostDown':
        return this.#fallSilent(action.uplink);
      case 'hostUp':
        return this.#comeBack(action.uplink);
      case 'byHand':
        for (const change of action.changes) {
          const bystander = this.#backend.bystander(this.name);
          const done = await doByHand(bystander, change, leaseIn(this.#options.leases, this.#options.file));
          this.#note('timeline', `by hand: ${done}`);
        }
        return;
      case 'start':
      case 'stop':
      case 'request':
      case 'memory':
      case 'attach':
      case 'detach':
        this.#desired = changed(this.#desired, action, containers);
        await this.#ask();
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
    const host = await this.#backend.connect(this.name);
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
    this.#notes.push({ kind: 'note', atMs: sinceMs(this.#options.zeroMs, this.#backend.clock), about, message });
  }
}

const isRefusal = (error: unknown): error is Error =>
  error instanceof HostError ||
  (error instanceof Error &&
    error.name === 'EngineError' &&
    (error.cause === undefined || error.cause instanceof HostError));

type Change = Extract<Action, { kind: 'start' | 'stop' | 'request' | 'memory' | 'attach' | 'detach' }>;

function changed(desired: Desired, action: Change, all: ReadonlyMap<string, ScenarioContainer>): Desired {
  if (action.kind === 'memory') return { ...desired, memory: action.memory };
  const { containers } = desired;
  if (action.kind === 'start') return { ...desired, containers: [...containers, asked(all.get(action.container)!)] };
  if (action.kind === 'stop')
    return { ...desired, containers: containers.filter(({ name }) => name !== action.container) };
  return {
    ...desired,
    containers: containers.map((container) =>
      container.name === action.container ? { ...container, ...changeOf(container, action) } : container,
    ),
  };
}

/** What becomes of a container that is there. */
function changeOf(
  { attachments = [] }: Desired['containers'][number],
  action: Extract<Change, { kind: 'request' | 'attach' | 'detach' }>,
): Partial<Desired['containers'][number]> {
  switch (action.kind) {
    case 'request':
      return { requestBytes: action.requestBytes };
    case 'attach':
      return { attachments: [...attachments, action.attachment] };
    case 'detach':
      return { attachments: attachments.filter(({ network }) => network !== action.network) };
  }
}
