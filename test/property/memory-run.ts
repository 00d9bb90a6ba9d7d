import type { Fault } from '../../backends/sim/faults.ts';
import { createSimulation, type Simulation } from '../../backends/sim/simulation.ts';
import { readAsked } from '../../src/engine/asked.ts';
import type { Desired } from '../../src/engine/desired.ts';
import { Engine, type EngineOptions } from '../../src/engine/engine.ts';
import { observe } from '../../src/engine/planning.ts';
import { EngineError } from '../../src/engine/errors.ts';
import { readShared } from '../../src/engine/sharing.ts';
import { brokenAlways, brokenAtRest, type Broken } from '../../src/engine/invariants.ts';
import type { Observation } from '../../src/engine/observation.ts';
import type { Clock } from '../../src/host/clock.ts';
import { EngineCrash } from '../../src/host/errors.ts';
import type { SupervisorFactory } from '../../src/host/supervision.ts';
import { type Bytes, GIB } from '../../src/host/units.ts';
import { policyByName } from '../../src/memory/policies.ts';
import type { MemoryPolicy } from '../../src/memory/policy.ts';
import { supervisorFactory } from '../../src/memory/supervisor.ts';
import { changed, type MemoryCase } from './memory-cases.ts';

export const HOST = 'host';

/** The shipped policy of this name. */
function shipped(name: string): MemoryPolicy {
  const policy = policyByName(name);
  if (policy === undefined) throw new Error(`no policy ${name}`);
  return policy;
}

export interface MemoryRunOptions {
  readonly policy?: string;
  readonly faults?: readonly Fault[];
  readonly crashPoint?: number;
  /** A crashed engine comes back after this. */
  readonly restartAfterMs?: number;
  /** Puts something between the supervisor and the host: an oracle that sees every look and every kill. */
  readonly around?: (factory: SupervisorFactory, simulation: () => Simulation) => SupervisorFactory;
}

export interface MemoryRun {
  readonly simulation: Simulation;
  readonly observations: readonly Observation[];
  /** Invariants found broken after some batch. */
  readonly broken: readonly Broken[];
  readonly crashes: number;
}

/** What the case asks of the host. */
export const desiredOf = ({ line, containers, dry = false }: MemoryCase, policy = 'gaia'): Desired => ({
  memory: { policy: { name: policy }, line, dry },
  containers,
});

/** One run of a case under an engine that is started again whenever it crashed, invariants checked after every batch. */
export async function runMemory(given: MemoryCase, options: MemoryRunOptions = {}): Promise<MemoryRun> {
  const observations: Observation[] = [];
  const broken: Broken[] = [];
  const plain = supervisorFactory((settings) => shipped(settings.policy.name));
  const simulation: Simulation = createSimulation({
    seed: given.seed,
    hosts: [{ name: HOST, ramBytes: (16 * GIB) as Bytes, cpus: 4, cgroupVersion: given.cgroupVersion }],
    supervisor: options.around?.(plain, () => simulation) ?? plain,
    ...(options.faults && { faults: options.faults }),
    ...(options.crashPoint !== undefined && { crashPoint: options.crashPoint }),
  });
  const host = simulation.host(HOST);
  const desired = desiredOf(given, options.policy);
  const isAsked = async (): Promise<boolean> => (await host.store.read(`hosts/${HOST}/memory`)).length > 0;
  let crashes = 0;

  const live = async (): Promise<void> => {
    const engine = engineOn(simulation, {
      sink: (observation) => observations.push(observation),
      afterBatch: async () => {
        broken.push(...brokenAlways(await observe(host), ({ name }) => shipped(name)));
      },
    });
    try {
      if (await isAsked()) await engine.recover().catch(onlyRefusals);
      // An order that did not reach the store is given again, as whoever gave it would.
      while (!(await isAsked())) {
        await engine.ask(desired).catch(onlyRefusals);
        await host.clock.sleep(1);
      }
      const { change } = given;
      const changing =
        change !== undefined && simulation.nowMs() < change.atMs
          ? host.clock
              .sleep(change.atMs - simulation.nowMs())
              .then(() => engine.ask(desiredOf(changed(given), options.policy)))
              .catch((error: unknown) => {
                if (!(error instanceof EngineCrash)) onlyRefusals(error);
              })
          : undefined;
      const end = new AbortController();
      void host.clock.sleep(given.lastsMs - simulation.nowMs()).then(() => end.abort());
      await engine.watch(end.signal);
      await changing;
    } catch (error) {
      if (!(error instanceof EngineCrash)) throw error;
      crashes++;
      await host.clock.sleep(options.restartAfterMs ?? 500);
      await live();
    }
  };
  await simulation.run(live);
  return { simulation, observations, broken, crashes };
}

/**
 * Asks for the same until nothing is left to be done, which takes a moment after each death, and gives what still was
 * not as asked after many tries.
 */
export const settle = (simulation: Simulation, given: MemoryCase, policy?: string): Promise<Broken[]> =>
  simulation.run(async () => {
    const host = simulation.host(HOST);
    for (let tries = 1; ; tries++) {
      await again(() => engineOn(simulation).ask(desiredOf(changed(given), policy)), host.clock);
      const broken = brokenAtRest(
        await readAsked(host.store, HOST),
        await readShared(host.store),
        await observe(host),
        ({ name }) => shipped(name),
      )
        // A lowered limit that usage does not fit under, with nobody to kill for it, waits for as long as that is so.
        .filter(({ message }) => given.change === undefined || !message.startsWith('cgroups.limit'));
      if (broken.length === 0 || tries === 10) return broken;
      await host.clock.sleep(500);
    }
  });

/** Asks for nothing at all, and tells what is there after that: it should be nothing. */
export async function leftovers(simulation: Simulation): Promise<string[]> {
  const host = simulation.host(HOST);
  return simulation.run(async () => {
    await again(() => engineOn(simulation).ask(null), host.clock);
    const { memory, containers } = await observe(host);
    return [
      ...memory.cgroups.keys(),
      ...memory.supervised.map(({ parent }) => `supervisor of ${parent}`),
      ...containers.map(({ name }) => `container ${name}`),
      ...(await host.store.read('')).map(({ key }) => `store ${key}`),
    ];
  });
}

const engineOn = (simulation: Simulation, options: Partial<EngineOptions> = {}): Engine =>
  new Engine(simulation.connect(HOST), {
    policies: ({ name }) => shipped(name),
    sink: () => undefined,
    zeroMs: 0,
    ...options,
  });

const onlyRefusals = (error: unknown): void => {
  if (!(error instanceof EngineError)) throw error;
};

/** What a refusal or a crash kept from being done is done again: faults end, and nobody gives up before. */
async function again(work: () => Promise<void>, clock: Clock): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await work();
      return;
    } catch (error) {
      if (tries === 100 || !(error instanceof EngineError || error instanceof EngineCrash)) throw error;
      await clock.sleep(100);
    }
  }
}
