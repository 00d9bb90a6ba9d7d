// Hosts that live for a while: what is asked of them changes, engines crash, hosts fall silent, calls fail.
import type { Fault } from '../../backends/sim/faults.ts';
import type { Simulation } from '../../backends/sim/simulation.ts';
import { readAsked } from '../../src/engine/asked.ts';
import type { Desired } from '../../src/engine/desired.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { EngineError } from '../../src/engine/errors.ts';
import { brokenAtRest } from '../../src/engine/invariants.ts';
import { observe } from '../../src/engine/planning.ts';
import { readShared } from '../../src/engine/sharing.ts';
import { EngineCrash } from '../../src/host/errors.ts';
import { type BrokenNetwork, brokenNetworks } from '../../src/network/invariants.ts';
import { observeNetwork } from '../../src/network/observe.ts';
import { leaseOf } from '../../src/network/shared.ts';
import type { CaseContainer, NetworkCase } from './network-cases.ts';
import { desiredOn } from './network-matrix.ts';
import { engineOn, simulate } from './network-run.ts';

/** Something that happens, so long after the last. */
export interface LifeEvent {
  readonly afterMs: number;
  readonly what:
    | { readonly kind: 'attach' | 'detach' | 'reorder'; readonly container: number }
    /** Back after so long: a session lasts 15 s. */
    | { readonly kind: 'crash'; readonly host: number; readonly backAfterMs: number };
}

/** A case and what happens in it. In the end all its containers are attached again. */
export interface LifeCase {
  readonly given: NetworkCase;
  readonly events: readonly LifeEvent[];
  readonly faults: readonly Fault[];
}

export interface LifeRun {
  readonly simulation: Simulation;
  readonly broken: readonly string[];
  readonly crashes: number;
  /** Sessions that ended while their host was away. */
  readonly lost: number;
  readonly refusals: number;
  /** What the store and the hosts were in the beginning. */
  readonly bare: readonly string[];
}

const RESTART_AFTER_MS = 300;
const RETRY_AFTER_MS = 500;

/** Lives through it all, invariants checked after every batch of any engine. */
export async function live({ given, events, faults }: LifeCase, crashPoint?: number): Promise<LifeRun> {
  const broken = new Set<string>();
  const simulation = await simulate(given, { faults, ...(crashPoint !== undefined && { crashPoint }) });
  const fleet = new Fleet(simulation, given, broken);
  const bare = await simulation.run(() => traces(simulation, given));
  await simulation.run(async () => {
    const { clock } = simulation.host(given.hosts[0]!.name);
    await fleet.watchLeases();
    const running = fleet.begin();
    let containers = [...given.containers];
    for (const { afterMs, what } of events) {
      await clock.sleep(afterMs);
      if (what.kind === 'crash') fleet.crash(given.hosts[what.host % given.hosts.length]!.name, what.backAfterMs);
      else {
        containers = changed(containers, given.containers[what.container % given.containers.length]!, what.kind);
        fleet.want(containers);
      }
    }
    await clock.sleep(2000);
    fleet.want(given.containers);
    await fleet.rest();
    fleet.end();
    await running;
  });
  return { simulation, broken: [...broken], crashes: fleet.crashes, lost: fleet.lost, refusals: fleet.refusals, bare };
}

function changed(
  containers: readonly CaseContainer[],
  one: CaseContainer,
  kind: 'attach' | 'detach' | 'reorder',
): CaseContainer[] {
  const others = containers.filter(({ name }) => name !== one.name);
  if (kind === 'detach') return others;
  return [...others, kind === 'attach' ? one : { ...one, attachments: one.attachments.slice(1).toReversed() }];
}

/** The engines of all hosts, each started again when it crashed. */
class Fleet {
  readonly #simulation: Simulation;
  readonly #given: NetworkCase;
  readonly #broken: Set<string>;
  readonly #backAfterMs = new Map<string, number>();
  /** Taken for dead by the others, and not settled since. */
  readonly #away = new Set<string>();
  /** Without an engine; and those that are being asked. */
  readonly #down = new Set<string>();
  readonly #asking = new Set<string>();
  readonly #ended = new AbortController();
  #containers: readonly CaseContainer[];
  crashes = 0;
  lost = 0;
  refusals = 0;

  constructor(simulation: Simulation, given: NetworkCase, broken: Set<string>) {
    this.#simulation = simulation;
    this.#given = given;
    this.#broken = broken;
    this.#containers = given.containers;
  }

  async begin(): Promise<void> {
    await Promise.all(this.#given.hosts.map(({ name }) => this.#keep(name)));
  }

  async watchLeases(): Promise<void> {
    const { store } = this.#simulation.host(this.#given.hosts[0]!.name);
    await store.watch('leases/', () => void this.#look(), this.#ended.signal);
  }

  want(containers: readonly CaseContainer[]): void {
    this.#containers = containers;
  }

  crash(host: string, backAfterMs: number): void {
    this.#backAfterMs.set(host, backAfterMs);
    this.#simulation.crash(host);
  }

  end(): void {
    this.#ended.abort();
  }

  /** Until every host is as asked, or it takes too long: then it says what is still to be done. */
  async rest(): Promise<void> {
    const { clock } = this.#simulation.host(this.#given.hosts[0]!.name);
    let left: string[] = [];
    for (let tries = 0; tries < 150; tries++) {
      await clock.sleep(1000);
      left = [...this.#down, ...this.#asking].map((name) => `${name} has no engine, or one that is being asked`);
      for (const { name } of this.#given.hosts) left.push(...(await this.#leftOn(name)));
      if (left.length === 0) return;
    }
    for (const each of left) this.#broken.add(`never at rest: ${each}`);
  }

  async #leftOn(name: string): Promise<string[]> {
    const host = this.#simulation.host(name);
    const asked = await readAsked(host.store, name);
    if (JSON.stringify(asked.desired?.endpoints ?? []) !== JSON.stringify(this.#desired(name)?.endpoints ?? []))
      return [`${name} was not asked yet`];
    const shared = await readShared(host.store);
    const missing = (asked.desired?.endpoints ?? []).flatMap(({ name: container, attachments = [] }) =>
      attachments.flatMap((attachment) =>
        leaseOf(shared, name, container, attachment) === undefined
          ? [`${name}/${container} has no lease in ${attachment.network}`]
          : [],
      ),
    );
    const held = new Set([...shared.leases.values()].map(({ value }) => value.mac));
    const idle = [...shared.macs].filter((mac) => !held.has(mac)).map((mac) => `MAC ${mac} is kept for nobody`);
    const broken = brokenAtRest(asked, shared, await observe(host, asked), () => {
      throw new Error('no memory is asked for');
    });
    return [...missing, ...idle, ...broken.map(({ about, message }) => `${name} ${about}: ${message}`)];
  }

  #desired(name: string): Desired | null {
    const here = this.#containers.filter(({ host, attachments }) => host === name && attachments.length > 0);
    if (here.length === 0) return null;
    const desired = desiredOn({ networks: this.#given.networks, containers: here }, name);
    return { ...desired, endpoints: desired.endpoints!.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
  }

  /** One host's engine after the other, until the end. */
  async #keep(name: string): Promise<void> {
    const { clock } = this.#simulation.host(name);
    while (!this.#ended.signal.aborted) {
      const engine = engineOn(this.#simulation, name, { afterBatch: () => this.#check() });
      const stop = new AbortController();
      try {
        await tolerant(() => engine.recover());
        await Promise.all([
          engine.watch(AbortSignal.any([stop.signal, this.#ended.signal])),
          this.#order(name, engine),
        ]);
      } catch (error) {
        if (!(error instanceof EngineCrash)) throw error;
        this.crashes++;
        this.#down.add(name);
        stop.abort();
        const backAfterMs = this.#backAfterMs.get(name) ?? RESTART_AFTER_MS;
        this.#backAfterMs.delete(name);
        await clock.sleep(backAfterMs);
        this.#down.delete(name);
      }
    }
  }

  /** Asks for whatever is wanted, again where it was refused. */
  async #order(name: string, engine: Engine): Promise<void> {
    const { clock, store, namespaces } = this.#simulation.host(name);
    let last = JSON.stringify((await readAsked(store, name)).desired);
    while (!this.#ended.signal.aborted) {
      const wanted = this.#desired(name);
      if (JSON.stringify(wanted) === last) {
        await clock.sleep(100);
        continue;
      }
      this.#asking.add(name);
      const taken = await tolerant(() => engine.ask(wanted)).finally(() => this.#asking.delete(name));
      if (taken) {
        last = JSON.stringify(wanted);
        const kept = new Set((wanted?.endpoints ?? []).map((each) => each.name));
        for (const left of await namespaces.list())
          if (!kept.has(left) && !this.#isAway(name))
            this.#broken.add(`${name}/${left} is there after it was detached`);
      } else {
        this.refusals++;
        // It may be in the store all the same.
        last = '';
        await clock.sleep(RETRY_AFTER_MS);
      }
    }
  }

  #isAway(name: string): boolean {
    return this.#away.has(name);
  }

  /** Who has no lease any more, and still has what was leased, was taken for dead: its session ended. */
  async #look(): Promise<readonly BrokenNetwork[]> {
    const names = this.#given.hosts.map(({ name }) => name);
    const hosts = await Promise.all(
      names.map(async (host) => ({ host, network: await observeNetwork(this.#simulation.host(host)) })),
    );
    const shared = await readShared(this.#simulation.host(names[0]!).store);
    const unleased = new Set(
      brokenNetworks(hosts, shared)
        .filter(isUnleased)
        .map(({ host }) => host),
    );
    const living = new Set([...shared.leases.values()].map(({ value }) => value.host));
    for (const host of names) {
      if (!unleased.has(host)) this.#away.delete(host);
      else if (!living.has(host) && !this.#away.has(host)) {
        this.#away.add(host);
        this.lost++;
      }
    }
    return brokenNetworks(hosts, shared, this.#away);
  }

  async #check(): Promise<void> {
    for (const { host, about, message } of await this.#look()) this.#broken.add(`${host}/${about} ${message}`);
  }
}

const isUnleased = ({ message }: BrokenNetwork): boolean => message.endsWith('not leased to it');

/** False: it was refused. */
async function tolerant(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof EngineError) return false;
    throw error;
  }
}

/** False: it was refused, or crashed. */
const cleared = (engine: Engine): Promise<boolean> =>
  tolerant(() => engine.ask(null)).catch((error: unknown) => {
    if (error instanceof EngineCrash) return false;
    throw error;
  });

/** Asks nothing of anybody any more, and tells what is there after that besides what was there before. */
export function leftovers({ simulation, bare }: LifeRun, given: NetworkCase): Promise<string[]> {
  return simulation.run(async () => {
    for (const { name } of given.hosts)
      for (let tries = 0; tries < 20 && !(await cleared(engineOn(simulation, name))); tries++)
        await simulation.host(name).clock.sleep(RETRY_AFTER_MS);
    const before = new Set(bare);
    return (await traces(simulation, given)).filter((each) => !before.has(each));
  });
}

/** All that there is on the hosts and in the store. */
async function traces(simulation: Simulation, { hosts }: NetworkCase): Promise<string[]> {
  const found: string[] = [];
  for (const { name } of hosts) {
    const host = simulation.host(name);
    const { namespaces, links, entries, firewall } = await observeNetwork(host);
    found.push(
      ...namespaces.map((each) => `${name} namespace ${each}`),
      // That an uplink routes packets on is not taken back: whether somebody else wants it too, nobody knows.
      ...links.map(({ namespace, name: link, up }) => `${name} link ${namespace} ${link} up ${up}`),
      ...entries.map((entry) => `${name} ${JSON.stringify(entry)}`),
      ...(firewall.frame === null ? [] : [`${name} has a filter`]),
      ...firewall.elements.map(({ set, key }) => `${name} element ${set} ${key}`),
    );
  }
  for (const { key } of await simulation.host(hosts[0]!.name).store.read('')) found.push(`store ${key}`);
  return found;
}
