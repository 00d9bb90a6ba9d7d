// One host with cards and an uplink: who has VFs and what each may send changes, engines crash, calls fail, signals go.
import type { Fault } from '../../backends/sim/faults.ts';
import { createSimulation, type Simulation } from '../../backends/sim/simulation.ts';
import { readAsked } from '../../src/engine/asked.ts';
import type { Desired, DesiredEndpoint } from '../../src/engine/desired.ts';
import { Engine } from '../../src/engine/engine.ts';
import { EngineError } from '../../src/engine/errors.ts';
import { brokenAtRest } from '../../src/engine/invariants.ts';
import { observe } from '../../src/engine/planning.ts';
import { readShared } from '../../src/engine/sharing.ts';
import { EngineCrash } from '../../src/host/errors.ts';
import { refusalOf } from '../../src/host/vf-drivers.ts';
import { bytes, GIB } from '../../src/host/units.ts';
import { supervisorFactory } from '../../src/memory/supervisor.ts';
import type { NetworkSpec } from '../../src/network/desired.ts';
import { brokenNetworks } from '../../src/network/invariants.ts';
import { NO_MAC } from '../../src/network/sriov.ts';
import { observeNetwork } from '../../src/network/observe.ts';

const HOST = 'h0';

/** What a container has: a VF, a VF with an intranet address, a port in one of two networks with one segment, or two of these. */
export type Place = 'vf' | 'office' | 'blue' | 'green' | 'vf and blue';

export interface FunctionContainer {
  readonly name: string;
  readonly place: Place;
  /** Its ceiling, in Mbit/s; null: none. */
  readonly ceilingMbit: number | null;
}

export interface FunctionCase {
  readonly driver: string;
  /** The VFs that the card has in the beginning, bound; where there are none its network brings four. */
  readonly vfsBefore: 0 | 4;
  readonly containers: readonly FunctionContainer[];
  readonly events: readonly FunctionEvent[];
  readonly faults: readonly Fault[];
}

/** Something that happens, so long after the last. */
export interface FunctionEvent {
  readonly afterMs: number;
  readonly what:
    | { readonly kind: 'attach' | 'detach'; readonly container: number }
    | { readonly kind: 'limit'; readonly container: number; readonly ceilingMbit: number | null }
    | { readonly kind: 'crash' }
    /** The signal on the card's wire. */
    | { readonly kind: 'cut'; readonly forMs: number }
    /** The namespace of a container is kept alive for so long when its name goes. */
    | { readonly kind: 'hold'; readonly container: number; readonly forMs: number };
}

export interface FunctionRun {
  readonly simulation: Simulation;
  readonly broken: readonly string[];
  readonly crashes: number;
  readonly refusals: number;
  /** Most VFs at one time in containers' namespaces. */
  readonly handed: number;
  /** Namespaces that were kept alive. */
  readonly held: number;
  readonly before: readonly string[];
}

const RESTART_AFTER_MS = 300;
const RETRY_AFTER_MS = 500;

const noPolicy = (): never => {
  throw new Error('no memory is asked for');
};

const engineOf = (simulation: Simulation, afterBatch?: () => Promise<void>): Engine =>
  new Engine(simulation.connect(HOST), {
    policies: noPolicy,
    sink: () => undefined,
    zeroMs: 0,
    ...(afterBatch !== undefined && { afterBatch }),
  });

const networksOf = ({ vfsBefore }: FunctionCase): NetworkSpec[] => {
  const none = { internal: false, nat: false } as const;
  const vf = { select: { pf: 'ens1' }, knobs: { vlan: 100, trust: true }, ...(vfsBefore === 0 && { count: 4 }) };
  return [
    { name: 'fast', kind: 'sriov', pool: '10.9.0.0/24', ...none, vf },
    { name: 'office', kind: 'intranet', pool: '192.168.77.128/25', by: 'vf', ...none, vf: { ...vf, knobs: {} } },
    { name: 'blue', kind: 'overlay', pool: '10.0.0.0/24', ...none },
    { name: 'green', kind: 'overlay', pool: '10.0.0.0/24', ...none },
  ];
};

const ATTACHED: Readonly<Record<Place, readonly string[]>> = {
  vf: ['fast'],
  office: ['office'],
  blue: ['blue'],
  green: ['green'],
  'vf and blue': ['fast', 'blue'],
};

const endpointOf = ({ name, place, ceilingMbit }: FunctionContainer): DesiredEndpoint => ({
  name,
  attachments: ATTACHED[place].map((network) => ({
    network,
    publish: [],
    // Tenants may have the same addresses.
    ...((network === 'blue' || network === 'green') && { address: `10.0.0.${1 + Number(name.slice(1))}` }),
  })),
  ...(ceilingMbit !== null && { egress: { ceilingBitsPerSec: ceilingMbit * 1e6 } }),
});

const desiredOf = (given: FunctionCase, containers: readonly FunctionContainer[]): Desired | null =>
  containers.length === 0
    ? null
    : {
        memory: null,
        network: { uplink: 'eth0', networks: networksOf(given) },
        endpoints: containers.map(endpointOf).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
        containers: [],
      };

/** Lives through it all, invariants checked after every batch; in the end all its containers are attached. */
export async function liveWithFunctions(given: FunctionCase, crashPoint?: number): Promise<FunctionRun> {
  const simulation = createSimulation({
    seed: 1,
    hosts: [
      {
        name: HOST,
        ramBytes: bytes(4 * GIB),
        cpus: 2,
        cgroupVersion: 2,
        nics: [{ link: 'ens1', driver: given.driver, totalVfs: 6 }],
      },
    ],
    supervisor: supervisorFactory(noPolicy),
    faults: given.faults,
    ...(crashPoint !== undefined && { crashPoint }),
  });
  const life = new Life(simulation, given);
  await simulation.run(() => life.prepare());
  const before = await simulation.run(() => traces(simulation));
  await simulation.run(() => life.live());
  return { simulation, before, ...life.told() };
}

class Life {
  readonly #simulation: Simulation;
  readonly #given: FunctionCase;
  readonly #broken = new Set<string>();
  readonly #ended = new AbortController();
  #wanted: Desired | null;
  #isBusy = true;
  #crashes = 0;
  #refusals = 0;
  #handed = 0;
  #held = 0;

  constructor(simulation: Simulation, given: FunctionCase) {
    this.#simulation = simulation;
    this.#given = given;
    this.#wanted = desiredOf(given, given.containers);
  }

  told(): Pick<FunctionRun, 'broken' | 'crashes' | 'refusals' | 'handed' | 'held'> {
    return {
      broken: [...this.#broken],
      crashes: this.#crashes,
      refusals: this.#refusals,
      handed: this.#handed,
      held: this.#held,
    };
  }

  async prepare(): Promise<void> {
    const { virtualFunctions } = this.#simulation.host(HOST);
    const { vfsBefore } = this.#given;
    if (vfsBefore === 0) return;
    await virtualFunctions.enable([{ pf: 'ens1', count: vfsBefore }]);
    await virtualFunctions.bind(Array.from({ length: vfsBefore }, (_, index) => ({ pf: 'ens1', index })));
    // What they were before is not always what a new one is.
    await virtualFunctions.set([{ pf: 'ens1', index: 1, set: { mac: '52:54:00:00:00:01', vlan: 7 } }]);
  }

  async live(): Promise<void> {
    const { clock } = this.#simulation.host(HOST);
    const running = this.#keep();
    let containers = [...this.#given.containers];
    for (const { afterMs, what } of this.#given.events) {
      await clock.sleep(afterMs);
      containers = await this.#happen(containers, what);
    }
    await clock.sleep(2000);
    this.#wanted = desiredOf(this.#given, this.#given.containers);
    await this.#rest();
    this.#ended.abort();
    await running;
  }

  async #happen(containers: FunctionContainer[], what: FunctionEvent['what']): Promise<FunctionContainer[]> {
    const { clock, namespaces } = this.#simulation.host(HOST);
    switch (what.kind) {
      case 'crash':
        this.#simulation.crash(HOST);
        return containers;
      case 'cut':
        this.#simulation.mishaps(HOST).cut('ens1', what.forMs);
        return containers;
      case 'hold': {
        const { name } = this.#at(what.container);
        if (!(await namespaces.list()).includes(name)) return containers;
        this.#held++;
        const letGo = this.#simulation.mishaps(HOST).hold(name);
        void clock.sleep(what.forMs).then(letGo);
        return containers;
      }
      case 'attach':
      case 'detach':
      case 'limit': {
        const one = this.#at(what.container);
        const others = containers.filter(({ name }) => name !== one.name);
        const next =
          what.kind === 'detach'
            ? others
            : [...others, what.kind === 'limit' ? { ...one, ceilingMbit: what.ceilingMbit } : one];
        this.#wanted = desiredOf(this.#given, next);
        return next;
      }
    }
  }

  #at(index: number): FunctionContainer {
    return this.#given.containers[index % this.#given.containers.length]!;
  }

  async #rest(): Promise<void> {
    const { clock } = this.#simulation.host(HOST);
    let left: readonly string[] = [];
    for (let tries = 0; tries < 120; tries++) {
      await clock.sleep(1000);
      left = this.#isBusy ? ['an engine is being asked, or there is none'] : await this.#left();
      if (left.length === 0) return;
    }
    for (const each of left) this.#broken.add(`never at rest: ${each}`);
  }

  async #left(): Promise<readonly string[]> {
    const host = this.#simulation.host(HOST);
    const asked = await readAsked(host.store, HOST);
    if (JSON.stringify(asked.desired) !== JSON.stringify(this.#wanted)) return ['it was not asked yet'];
    const needs = (this.#wanted?.endpoints ?? []).filter(({ attachments = [] }) =>
      attachments.some(({ network }) => network === 'fast' || network === 'office'),
    );
    const without = needs.filter(({ name }) => !asked.held.vfs.some(({ container }) => container === name));
    const broken = brokenAtRest(asked, await readShared(host.store), await observe(host, asked), noPolicy);
    return [
      ...without.map(({ name }) => `${name} has no VF`),
      ...broken.map(({ about, message }) => `${about}: ${message}`),
    ];
  }

  async #check(): Promise<void> {
    const host = this.#simulation.host(HOST);
    const network = await observeNetwork(host);
    const inside = network.functions.virtual.filter(({ link }) => link !== null && link.namespace !== '').length;
    this.#handed = Math.max(this.#handed, inside);
    for (const { about, message } of brokenNetworks([{ host: HOST, network }], await readShared(host.store)))
      this.#broken.add(`${about} ${message}`);
  }

  /** One engine after the other, until the end; each is asked for what is wanted, again where it was refused. */
  async #keep(): Promise<void> {
    const { clock } = this.#simulation.host(HOST);
    while (!this.#ended.signal.aborted) {
      const engine = engineOf(this.#simulation, () => this.#check());
      const stop = new AbortController();
      try {
        await this.#tolerant(() => engine.recover());
        await Promise.all([engine.watch(AbortSignal.any([stop.signal, this.#ended.signal])), this.#order(engine)]);
      } catch (error) {
        if (!(error instanceof EngineCrash)) throw error;
        this.#isBusy = true;
        this.#crashes++;
        stop.abort();
        await clock.sleep(RESTART_AFTER_MS);
      }
    }
  }

  async #order(engine: Engine): Promise<void> {
    const { clock, store } = this.#simulation.host(HOST);
    let last = JSON.stringify((await readAsked(store, HOST)).desired);
    while (!this.#ended.signal.aborted) {
      const wanted = JSON.stringify(this.#wanted);
      this.#isBusy = wanted !== last;
      if (!this.#isBusy) {
        await clock.sleep(100);
        continue;
      }
      if (await this.#tolerant(() => engine.ask(JSON.parse(wanted) as Desired | null))) last = wanted;
      else {
        last = '';
        await clock.sleep(RETRY_AFTER_MS);
      }
    }
  }

  /** False: it was refused. */
  async #tolerant(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      this.#refusals++;
      return false;
    }
  }
}

/** Asks nothing of anybody any more, and tells what is otherwise than it was before anything was asked. */
export function leftOf({ simulation, before }: FunctionRun): Promise<string[]> {
  return simulation.run(async () => {
    const { clock } = simulation.host(HOST);
    for (let tries = 0; tries < 20; tries++) {
      try {
        await engineOf(simulation).ask(null);
        break;
      } catch (error) {
        if (!(error instanceof EngineError || error instanceof EngineCrash)) throw error;
        await clock.sleep(RETRY_AFTER_MS);
      }
    }
    const after = await traces(simulation);
    return [
      ...after.filter((each) => !before.includes(each)).map((each) => `is there: ${each}`),
      ...before.filter((each) => !after.includes(each)).map((each) => `is gone: ${each}`),
    ];
  });
}

/** All that there is on the host and in the store. */
async function traces(simulation: Simulation): Promise<string[]> {
  const host = simulation.host(HOST);
  const { namespaces, links, entries, firewall, functions } = await observeNetwork(host);
  const takesBack = new Map(
    functions.physical.map(({ pf, driver }) => [pf, refusalOf(driver, 'mac', NO_MAC) === null]),
  );
  const shaper = await host.shaper.list(links.map(({ namespace, name }) => ({ namespace, name })));
  return [
    ...namespaces.map((each) => `namespace ${each}`),
    ...links.map(({ namespace, name, up, alias }) => `link ${namespace} ${name} up ${up} ${alias}`),
    ...entries.map((entry) => JSON.stringify(entry)),
    ...(firewall.frame === null ? [] : ['a filter']),
    ...firewall.elements.map(({ set, key }) => `element ${set} ${key}`),
    ...shaper.objects.map((object) => JSON.stringify(object)),
    ...functions.physical.map(({ pf, vfCount, autoprobe }) => `${pf} ${vfCount} ${autoprobe}`),
    // A VF that was given no MAC chooses another each time; and mlx5 takes none back.
    ...functions.virtual.map((vf) => {
      const known = takesBack.get(vf.pf) === true ? { mac: vf.mac } : {};
      return JSON.stringify({ ...vf, linkMac: null, mac: null, ...known });
    }),
    ...(await host.store.read('')).map(({ key }) => `store ${key}`),
  ];
}
