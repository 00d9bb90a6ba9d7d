import { describe, it } from 'vitest';
import { createSimulation } from '../../backends/sim/simulation.ts';
import type { CgroupReader } from '../../src/host/cgroups.ts';
import { elementKey } from '../../src/host/firewall.ts';
import type { Host } from '../../src/host/host.ts';
import { entryKey } from '../../src/host/routing.ts';
import { bytes, GIB } from '../../src/host/units.ts';
import { policyByName } from '../../src/memory/policies.ts';
import { supervisorFactory } from '../../src/memory/supervisor.ts';
import { announcementsContract } from './announcements.ts';
import { cgroupsContract } from './cgroups.ts';
import { clockContract } from './clock.ts';
import { containersContract } from './containers.ts';
import { ADDRESS_HERE, ADDRESS_THERE, type ContractCase, type ContractFixture, type ReadBack } from './contract.ts';
import { egressRatesContract } from './egress-rates.ts';
import { firewallMarksContract } from './firewall-marks.ts';
import { firewallPacketsContract } from './firewall-packets.ts';
import { firewallContract } from './firewall.ts';
import { linkMovesContract } from './link-moves.ts';
import { linksContract } from './links.ts';
import { machineContract } from './machine.ts';
import { namespacesContract } from './namespaces.ts';
import { probesContract } from './probes.ts';
import { routingContract } from './routing.ts';
import { shaperPacketsContract } from './shaper-packets.ts';
import { shaperContract, shaperLines } from './shaper.ts';
import { streamsContract } from './streams.ts';
import { supervisionContract } from './supervision.ts';
import { virtualFunctionLinksContract } from './virtual-function-links.ts';
import { virtualFunctionsContract } from './virtual-functions.ts';

/** The one capability whose bodies have PFs. */
const VIRTUAL_FUNCTIONS = 'virtual functions';
const PFS = ['pf0', 'pf1'] as const;

const CONTRACTS: Readonly<Record<string, readonly ContractCase[]>> = {
  clock: clockContract,
  machine: machineContract,
  cgroups: cgroupsContract,
  containers: containersContract,
  supervision: supervisionContract,
  namespaces: namespacesContract,
  links: [...linksContract, ...linkMovesContract],
  routing: [...routingContract, ...announcementsContract],
  firewall: [...firewallContract, ...firewallPacketsContract, ...firewallMarksContract],
  shaper: [...shaperContract, ...shaperPacketsContract, ...egressRatesContract],
  probes: [...probesContract, ...streamsContract],
  [VIRTUAL_FUNCTIONS]: [...virtualFunctionsContract, ...virtualFunctionLinksContract],
};

const supervisor = supervisorFactory(({ policy: { name } }) => {
  const policy = policyByName(name);
  if (policy === undefined) throw new Error(`there is no policy ${name}`);
  return policy;
});

/** What virtual time a body may take before it is said never to get there. */
const PATIENCE_MS = 60_000;

/** The network as the raw host tells it. */
const readNetworkOf = (
  raw: Host,
): Pick<ReadBack, 'namespaces' | 'link' | 'vf' | 'routing' | 'shaper' | 'firewallText'> => ({
  namespaces: () => raw.namespaces.list(),
  async link({ namespace, name }) {
    const found = (await raw.links.list([namespace])).find((link) => link.name === name);
    if (found === undefined) return null;
    const { type, up, mtu, mac, alias, master, learning, hairpin, forwarding, ipv6, qdisc } = found;
    return { type, up, mtu, mac, alias, master, learning, hairpin, forwarding, ipv6, qdisc };
  },
  async vf({ pf, index }) {
    const found = (await raw.virtualFunctions.list([])).virtual.find((vf) => vf.pf === pf && vf.index === index);
    if (found === undefined) return null;
    const {
      pciAddress: _address,
      driver: _driver,
      link: _link,
      linkMac: _mac,
      pf: _pf,
      index: _index,
      ...knobs
    } = found;
    return knobs;
  },
  routing: async (namespace) => (await raw.routing.list([namespace])).map(entryKey),
  shaper: async (link) => shaperLines(await raw.shaper.list([link])),
  async firewallText() {
    const { frame, elements } = await raw.firewall.read();
    return [...(frame ?? []), ...elements.map(elementKey)].join('\n');
  },
});

/** A body gets the host as an engine would, and reads back through the raw host, past the chain. */
function simulatedFixture(cgroupVersion: 1 | 2, pfs?: typeof PFS): ContractFixture {
  const machine = { name: 'sim', ramBytes: bytes(8 * GIB), cpus: 4, cgroupVersion, uplink: null };
  const nics = pfs?.map((link) => ({ link, driver: 'igb' })) ?? [];
  const hosts = [
    { ...machine, nics },
    { ...machine, name: 'other' },
  ];
  const simulation = createSimulation({ seed: 1, hosts, supervisor });
  const raw = simulation.host('sim');
  let waiting = false;
  const stateOf = async (path: string) => (await raw.cgroups.list()).find((state) => state.path === path);
  const reading = <T>(path: string, read: (reader: CgroupReader) => T): T => {
    const reader = raw.cgroups.open(path);
    try {
      return read(reader);
    } finally {
      reader.close();
    }
  };
  return {
    host: simulation.connect('sim'),
    ...(pfs !== undefined && { pfs }),
    backend: 'sim',
    cgroupVersion,
    // Within what is waited for, time goes on already.
    settle: (work) => (waiting ? work() : simulation.run(work)),
    async waitUntil(predicate, what) {
      waiting = true;
      await simulation.run(async () => {
        const untilMs = simulation.nowMs() + PATIENCE_MS;
        while (!(await predicate())) {
          if (simulation.nowMs() > untilMs) throw new Error(`waited ${PATIENCE_MS} ms of virtual time for ${what}`);
          await raw.clock.sleep(10);
        }
      });
      waiting = false;
    },
    readBack: {
      cgroupPaths: async () => (await raw.cgroups.list()).map(({ path }) => path),
      limitBytes: async (path) => (await stateOf(path))?.limitBytes ?? null,
      usageBytes: async (path) => reading(path, (reader) => reader.usageBytes()),
      processes: async (path) => simulation.processes('sim', path),
      ramBytes: async () => machine.ramBytes,
      cpus: async () => machine.cpus,
      ...readNetworkOf(raw),
    },
    async another(name) {
      simulation.plug('sim', { prefix: ADDRESS_HERE });
      simulation.plug(name, { prefix: ADDRESS_THERE });
      return simulation.connect(name);
    },
    layForeignQdisc: async (link) => simulation.layForeignQdisc('sim', link),
  };
}

describe.each([1, 2] as const)('the simulated host with cgroup v%i', (version) => {
  describe.each(Object.entries(CONTRACTS))('%s', (capability, cases) => {
    it.each(cases.map((one) => [one.name, one] as const))('%s', (_name, one) =>
      one.run(simulatedFixture(version, capability === VIRTUAL_FUNCTIONS ? PFS : undefined)),
    );
  });
});
