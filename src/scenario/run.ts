import type { Desired } from '../engine/desired.ts';
import type { Engine } from '../engine/engine.ts';
import type { Observation, ObservationSink, RunHeader } from '../engine/observation.ts';
import type { Clock } from '../host/clock.ts';
import { EngineCrash, HostError } from '../host/errors.ts';
import type { Host } from '../host/host.ts';
import { judge, type Verdict } from './expectations.ts';
import { type Kill, killsOf } from './kills.ts';
import { policiesOf } from './policy.ts';
import { recordingLine } from './recording.ts';
import type { Action, BackendName, Scenario, ScenarioContainer } from './scenario.ts';

/** Where a scenario runs: machines, and the time they share. */
export interface ScenarioBackend {
  readonly name: BackendName;
  /** Goes on whatever crashes. */
  readonly clock: Clock;
  /** A new engine's handle of this host. */
  connect(host: string): Promise<Host>;
  /** Ends every handle of this host that there is: nothing done through it has any effect from here on. */
  crash(host: string): Promise<void>;
  /** Lets time pass until the work has settled. */
  drive<T>(work: () => Promise<T>): Promise<T>;
}

/** What of an engine a run needs. */
type ScenarioEngine = Pick<Engine, 'ask' | 'planFor' | 'recover' | 'tick' | 'watch'>;

/** Makes the engine of a host; observations count from `zeroMs` of its clock. */
export type EngineFactory = (
  host: Host,
  options: { readonly sink: ObservationSink; readonly zeroMs: number },
) => ScenarioEngine;

export interface RunOptions {
  readonly engineFor: EngineFactory;
  readonly commit: string;
  /** Takes the recording, line by line. */
  readonly record?: (line: string) => void;
  /** Takes each observation as it comes. */
  readonly observe?: ObservationSink;
  /** Ends the run early: everything is torn down, and the run rejects with Interrupted. */
  readonly signal?: AbortSignal;
}

/** What came of a run. */
export interface RunResult {
  readonly header: RunHeader;
  readonly observations: readonly Observation[];
  readonly kills: readonly Kill[];
  readonly verdicts: readonly Verdict[];
  /** Invariants that broke, in words. */
  readonly broken: readonly string[];
  /** Every expectation that applies held, and no invariant broke. */
  readonly held: boolean;
}

/** The run was ended before its time. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** Runs a scenario: asks of each host what it says, when it says so, and judges what was observed. */
export async function runScenario(
  scenario: Scenario,
  backend: ScenarioBackend,
  options: RunOptions,
): Promise<RunResult> {
  const header: RunHeader = {
    kind: 'run',
    version: 1,
    title: scenario.title,
    backend: backend.name,
    policy: policyLabel(scenario),
    seed: scenario.seed,
    commit: options.commit,
    ...(backend.name === 'sim' && { scenario: scenario.written }),
    hosts: scenario.hosts.map(({ name }) => name),
  };
  const observations: Observation[] = [];
  const observe: ObservationSink = (observation) => {
    observations.push(observation);
    options.record?.(recordingLine(observation));
    options.observe?.(observation);
  };
  options.record?.(recordingLine(header));
  await backend.drive(() => runOn(backend, scenario, { ...options, observe }));

  const policies = Object.fromEntries(scenario.hosts.map(({ name, memory }) => [name, memory.policy.name]));
  const verdicts = judge(scenario, observations, { backend: backend.name, policies });
  const broken = observations.flatMap((each) =>
    each.kind === 'note' && each.about === 'invariant' ? [each.message] : [],
  );
  return {
    header,
    observations,
    kills: killsOf(observations),
    verdicts,
    broken,
    held: broken.length === 0 && verdicts.every(({ held }) => held !== false),
  };
}

/** The policy of a run, in a word: those of its hosts, where they differ. */
const policyLabel = (scenario: Scenario): string =>
  [...new Set(policiesOf(scenario).map(({ name }) => name))].join('+');

async function runOn(
  backend: ScenarioBackend,
  scenario: Scenario,
  { engineFor, observe, signal }: RunOptions & { readonly observe: ObservationSink },
): Promise<void> {
  const { clock } = backend;
  const zeroMs = clock.monotonicMs();
  let open = true;
  const hosts = scenario.hosts.map(({ name, memory }) => {
    const sink: ObservationSink = (observation) => {
      if (open) observe(scenario.hosts.length > 1 ? { host: name, ...observation } : observation);
    };
    const containers = scenario.containers.filter(({ host }) => host === name);
    return new HostRun(name, backend, {
      sink,
      zeroMs,
      engineFor,
      hasFaults: scenario.faults.length > 0,
      desired: { memory, containers: containers.filter(({ fromBeginning }) => fromBeginning).map(asked) },
    });
  });
  const ofName = new Map(hosts.map((host) => [host.name, host]));
  const ofContainer = new Map(scenario.containers.map((container) => [container.name, container]));

  try {
    await Promise.all(hosts.map((host) => host.begin()));
    // The timeline counts from here: on a real host its containers' first processes take their time to start.
    const beginMs = clock.monotonicMs();
    for (const { atMs, action } of scenario.timeline) {
      await until(clock, beginMs + atMs, signal);
      const host = 'host' in action ? action.host : ofContainer.get(action.container)!.host;
      await ofName.get(host)!.act(action, ofContainer);
    }
    await until(clock, beginMs + scenario.endMs, signal);
    await Promise.all(hosts.map((host) => host.settle()));
    observe({ kind: 'end', atMs: sinceMs(zeroMs, clock) });
  } finally {
    // What follows belongs to clearing up, not to the scenario.
    open = false;
    await Promise.all(hosts.map((host) => host.clear()));
  }
}

async function until(clock: Clock, atMs: number, signal: AbortSignal | undefined): Promise<void> {
  const delayMs = atMs - clock.monotonicMs();
  if (delayMs > 0) await clock.sleep(delayMs, signal);
  if (signal?.aborted === true) throw new Interrupted('the run was interrupted');
}

/** Microseconds are as fine as a recording needs. */
const sinceMs = (zeroMs: number, clock: Clock): number => Math.round((clock.monotonicMs() - zeroMs) * 1000) / 1000;

const asked = ({ name, requestBytes, priority, workload }: ScenarioContainer): Desired['containers'][number] => ({
  name,
  requestBytes,
  priority,
  workload,
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
}

/** One host of a run: its engine, and the one after that when it crashed. */
class HostRun {
  readonly name: string;
  readonly #backend: ScenarioBackend;
  readonly #options: HostRunOptions;
  readonly #ended = new AbortController();
  #desired: Desired;
  #engine: Promise<ScenarioEngine> | undefined;
  #crashes = 0;
  #watching: Promise<void> = Promise.resolve();

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
    if (action.kind === 'crash') {
      this.#restart(this.#crashes, action.restartAfterMs);
      return;
    }
    this.#desired = changed(this.#desired, action, containers);
    await this.#ask();
  }

  /** Ends the watch and takes what is still to be seen. */
  async settle(): Promise<void> {
    this.#ended.abort();
    await this.#watching;
    await this.#survive((engine) => engine.tick());
  }

  /** Brings the host back to nothing asked, whatever state it is in. */
  async clear(): Promise<void> {
    this.#ended.abort();
    await this.#watching.catch(() => undefined);
    if (this.#engine !== undefined) await this.#survive((engine) => engine.ask(null));
  }

  async #ask(): Promise<void> {
    await this.#survive((engine) => engine.ask(this.#desired));
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
        if (error instanceof EngineCrash) this.#restart(crashes, RESTART_AFTER_MS);
        else if (this.#options.hasFaults && isRefusal(error)) {
          // What was asked is in the store: the engine's own ticks try again.
          if (error.name === 'EngineError') return;
          await this.#backend.clock.sleep(RETRY_AFTER_MS);
        } else throw error;
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
    const { sink, zeroMs } = this.#options;
    await this.#backend.crash(this.name);
    sink({
      kind: 'note',
      atMs: sinceMs(zeroMs, this.#backend.clock),
      about: 'crash',
      message: `the engine crashed; another takes over after ${afterMs} ms`,
    });
    await this.#backend.clock.sleep(afterMs);
    const engine = await this.#connect();
    for (;;) {
      try {
        await engine.recover();
        return engine;
      } catch (error) {
        if (!this.#options.hasFaults || !isRefusal(error)) throw error;
        await this.#backend.clock.sleep(RETRY_AFTER_MS);
      }
    }
  }

  async #connect(): Promise<ScenarioEngine> {
    const host = await this.#backend.connect(this.name);
    const { sink, zeroMs } = this.#options;
    return this.#options.engineFor(host, { sink, zeroMs });
  }
}

const isRefusal = (error: unknown): error is Error =>
  error instanceof HostError || (error instanceof Error && error.name === 'EngineError');

function changed(
  { memory, containers }: Desired,
  action: Exclude<Action, { kind: 'crash' }>,
  all: ReadonlyMap<string, ScenarioContainer>,
): Desired {
  switch (action.kind) {
    case 'start':
      return { memory, containers: [...containers, asked(all.get(action.container)!)] };
    case 'stop':
      return { memory, containers: containers.filter(({ name }) => name !== action.container) };
    case 'request':
      return {
        memory,
        containers: containers.map((container) =>
          container.name === action.container ? { ...container, requestBytes: action.requestBytes } : container,
        ),
      };
    case 'memory':
      return { memory: action.memory, containers };
  }
}
