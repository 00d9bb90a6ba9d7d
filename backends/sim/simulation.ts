import { setImmediate } from 'node:timers';
import type { Cgroups } from '../../src/host/cgroups.ts';
import type { Host } from '../../src/host/host.ts';
import type { LinkName } from '../../src/host/links.ts';
import type { Verb } from '../../src/host/steps.ts';
import type { Store } from '../../src/host/store.ts';
import type { SupervisorFactory } from '../../src/host/supervision.ts';
import { SHIPPED_COSTS } from './calibration.ts';
import { createCgroups } from './cgroups.ts';
import { supervisorAccess, throughChain } from './chain.ts';
import { createClock } from './clock.ts';
import { createContainers } from './containers.ts';
import { CrashPoints } from './crash-points.ts';
import { EventQueue } from './events.ts';
import { type Fault, Faults } from './faults.ts';
import { wayOf } from './flow-way.ts';
import { Life } from './life.ts';
import { createFirewall } from './firewall.ts';
import { createLinks } from './links.ts';
import { createMachine, type SimulatedMachine, type SimulatedUplink } from './machine.ts';
import { Memory } from './memory.ts';
import { createNamespaces } from './namespaces.ts';
import { addressOf, type HostNetwork, Network, type Uplink } from './network.ts';
import { type Mishaps, Nics } from './nics.ts';
import type { HopCounts, PacketCosts } from './packet-costs.ts';
import { HEADER_BYTES, UDP } from './packet.ts';
import { createProbes } from './probes.ts';
import type { ForeignRoot } from './qdisc.ts';
import { type End, reachability } from './reachability.ts';
import { createRouting } from './routing.ts';
import { formatAddress, type Ipv4Address, parseAddress } from '../../src/host/ipv4.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { createRandom, type Random } from '../../src/host/random.ts';
import { createShaper } from './shaper.ts';
import { createStore } from './store.ts';
import { createSupervision } from './supervision.ts';
import { Traffic } from './traffic.ts';
import { createVirtualFunctions } from './virtual-functions.ts';

export interface SimulationOptions {
  /** The only source of chance: the same options give the same run. */
  readonly seed: number;
  readonly hosts: readonly SimulatedMachine[];
  readonly supervisor: SupervisorFactory;
  readonly faults?: readonly Fault[];
  /** Called after every batch an engine sent, applied or not: where invariants are checked. */
  readonly afterStep?: (step: { readonly host: string; readonly verb: Verb; readonly atMs: number }) => void;
  /** What packets cost the hosts' CPUs; the shipped calibration unless set. */
  readonly costs?: PacketCosts;
  /** Crashes the engine at this point, counted over all hosts from 0; see `crashPoints()`. */
  readonly crashPoint?: number;
}

/** Machines, and the time they share. */
export interface Simulation {
  /** The host itself, for observers: past all faults, and alive whatever crashes. @throws RangeError */
  host(name: string): Host;
  /** The host as an engine gets it: through the faults, until a crash. Each connection belongs to the host's engine of that time. */
  connect(name: string): Host;
  /** Ends every connection to this host: each later call throws EngineCrash and changes nothing. The supervisors live on. */
  crash(name: string): void;
  nowMs(): number;
  /** Living processes in this cgroup itself, as the model has them; those on their way out count. */
  processes(name: string, cgroup: string): number;
  /** Plugs a machine into the fabric that was declared without an uplink. @throws RangeError */
  plug(name: string, uplink: SimulatedUplink): void;
  /**
   * Lays a root qdisc on a link as somebody else would by hand, in place of any: an HTB of handle `1:` unless another is
   * named; null takes away what is there. @throws RangeError
   */
  layForeignQdisc(name: string, link: LinkName, root?: ForeignRoot | null): void;
  /** What befalls a machine's cards: see nics.ts. @throws RangeError */
  mishaps(name: string): Mishaps;
  /** Who answers whom, over all hosts: see reachability.ts. @throws RangeError */
  reachability(ends: readonly End[], payloadBytes?: number): Int32Array;
  /**
   * What a datagram of a flow under way costs each host's CPUs between its sender's socket and where it arrives; null: it
   * arrives nowhere. @throws RangeError where there is no such host or namespace
   */
  hopsOf(name: string, datagram: Datagram): Readonly<Record<string, HopCounts>> | null;
  /** Lets time pass until the work has settled. @throws Deadlock where it waits for something that will never come. */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** A generator for something besides the hosts, by its label. */
  random(label: string): Random;
  /** How many points there were so far at which an engine could have crashed. */
  crashPoints(): number;
}

/** One of many to one port. */
export interface Datagram {
  readonly from: NamespaceName;
  readonly to: Ipv4Address;
  readonly port: number;
  readonly payloadBytes: number;
}

/** The work has not settled, and nothing will ever happen again. */
export class Deadlock extends Error {
  override readonly name = 'Deadlock';
}

/** Simulates these machines. @throws RangeError for faults that name no call or no host. */
export function createSimulation(options: SimulationOptions): Simulation {
  const events = new EventQueue();
  const random = createRandom(options.seed);
  const crashPoints = new CrashPoints(options.crashPoint);
  const store = createStore(events);
  const network = new Network(random.fork('network'), events);
  network.traffic = new Traffic(network, options.costs ?? SHIPPED_COSTS, events);
  const machines = new Map(
    options.hosts.map((machine, index) => [
      machine.name,
      createMachineParts(
        machine,
        joinFabric(network, machine, index, events),
        options,
        events,
        random,
        crashPoints,
        store,
      ),
    ]),
  );
  for (const { host } of options.faults ?? [])
    if (host !== undefined && !machines.has(host))
      throw new RangeError(`a fault on host "${host}": there is no such host`);

  const find = (name: string): MachineParts => {
    const parts = machines.get(name);
    if (parts === undefined)
      throw new RangeError(`there is no host "${name}"; there is ${[...machines.keys()].join(', ')}`);
    return parts;
  };
  let running = false;
  return {
    host: (name) => find(name).host,
    connect: (name) => find(name).connect(),
    crash: (name) => find(name).crash(),
    nowMs: () => events.nowMs,
    processes: (name, cgroup) => find(name).processes(cgroup),
    plug(name, uplink) {
      const host = find(name) && network.hosts.get(name)!;
      if (host.uplink !== null) throw new RangeError(`host "${name}" is plugged in already`);
      network.plug(host, withDefaults(uplink));
    },
    layForeignQdisc(name, at, root = { type: 'htb', handle: '1:' }) {
      const link = find(name) && network.hosts.get(name)!.spaces.get(at.namespace)?.links.get(at.name);
      if (link === undefined) throw new RangeError(`host "${name}" has no link ${at.namespace}/${at.name}`);
      link.qdisc = root;
      network.changed();
    },
    mishaps: (name) => find(name) && network.hosts.get(name)!.nics,
    reachability: (ends, payloadBytes) => reachability(network, ends, payloadBytes),
    hopsOf(name, { from: namespace, to, port, payloadBytes }) {
      const from = find(name) && network.hosts.get(name)!.spaces.get(namespace);
      if (from === undefined) throw new RangeError(`there is no namespace ${name}/${namespace}`);
      const flow = { from, to: addressOf(to), port, protocol: UDP, bytes: payloadBytes + HEADER_BYTES } as const;
      const { arrival, hops } = wayOf(network, flow);
      return arrival && Object.fromEntries([...hops].map(([host, counts]) => [host.name, counts]));
    },
    async run(work) {
      if (running) throw new Error('the simulation runs already: one work at a time, which may do several things');
      running = true;
      try {
        return await drive(events, work);
      } finally {
        running = false;
      }
    },
    random: (label) => random.fork(`random ${label}`),
    crashPoints: () => crashPoints.count,
  };
}

interface MachineParts {
  readonly host: Host;
  connect(): Host;
  crash(): void;
  processes(cgroup: string): number;
}

/** Hosts without an address of their own choice are .11, .12 and so on, in order. */
function joinFabric(network: Network, machine: SimulatedMachine, index: number, events: EventQueue): HostNetwork {
  const { name, nics = [], foreignForward = 'accept', bridgeNfCallIptables = false, fairQueues = true } = machine;
  const { cpus, foreignRules = 0 } = machine;
  const { uplink = { prefix: `${formatAddress(FIRST_UPLINK + index)}/24` } } = machine;
  const host = network.addHost(name, cpus, { foreignForward, bridgeNfCallIptables, foreignRules });
  host.nics = new Nics(host, events);
  host.hasFairQueues = fairQueues;
  if (uplink !== null) network.plug(host, withDefaults(uplink));
  for (const nic of nics) host.nics.add(nic);
  return host;
}

const withDefaults = ({ link = 'eth0', prefix, mtu = 1500, qdisc }: SimulatedUplink): Uplink => ({
  link,
  prefix,
  mtu,
  qdisc: qdisc ?? null,
});

const FIRST_UPLINK = parseAddress('192.168.77.11');

function createMachineParts(
  machine: SimulatedMachine,
  network: HostNetwork,
  { faults: declared = [], supervisor, afterStep }: SimulationOptions,
  events: EventQueue,
  random: Random,
  crashPoints: CrashPoints,
  store: Store,
): MachineParts {
  const { name } = machine;
  const faults = new Faults(
    declared.filter(({ host = name }) => host === name),
    random.fork(`host ${name}`),
  );
  const clock = createClock(events);
  const memory = new Memory(machine.ramBytes, machine.cpus, machine.cgroupVersion);
  const cgroups: Cgroups = createCgroups(memory, events);
  const host: Host = {
    name,
    clock,
    machine: createMachine(machine),
    cgroups,
    containers: createContainers(memory, clock, network),
    supervision: createSupervision({
      events,
      cgroups,
      access: supervisorAccess(cgroups, { events, faults }),
      factory: supervisor,
      ...(faults.concerns('supervisor.look') && {
        lookFault: () => {
          const strike = faults.strike('supervisor.look', events.nowMs);
          return strike && { delayMs: strike.delayMs, dies: strike.end !== null };
        },
      }),
    }),
    namespaces: createNamespaces(network),
    links: createLinks(network),
    virtualFunctions: createVirtualFunctions(network, events),
    routing: createRouting(network),
    firewall: createFirewall(network),
    shaper: createShaper(network),
    probes: createProbes(network),
    store,
  };
  let life = new Life();
  return {
    host,
    connect() {
      if (life.isOver) life = new Life();
      return throughChain(host, {
        events,
        faults,
        life,
        crashPoints,
        afterStep: (verb) => afterStep?.({ host: name, verb, atMs: events.nowMs }),
      });
    },
    crash() {
      life.end('from outside');
    },
    processes(cgroup) {
      memory.advance(events.nowMs);
      return memory.group(cgroup)?.processes ?? 0;
    },
  };
}

/** Takes event after event; after one that resolved a promise, everything that waited for it runs to its next wait. */
async function drive<T>(events: EventQueue, work: () => Promise<T>): Promise<T> {
  const progress = { settled: false };
  const outcome = work().finally(() => {
    progress.settled = true;
  });
  // The rejection is for the caller, below; it must not count as unhandled meanwhile.
  outcome.catch(() => undefined);
  await everybodyWaits();
  while (!progress.settled) {
    const event = events.take();
    if (event === undefined)
      throw new Deadlock(
        `at ${events.nowMs} ms the work still waits, but nothing is due: it waits for something other than the simulation's clock`,
      );
    event.run();
    if (event.wakes) await everybodyWaits();
  }
  return outcome;
}

/** Microtasks run to their end before the loop turns: then every task waits, or the work has settled. */
const everybodyWaits = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
