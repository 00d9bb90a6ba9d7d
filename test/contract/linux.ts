// What the contract bodies need around them on this machine: a fresh host, and the tools to read back with.
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { findLayout } from '../../backends/linux/cgroup-layout.ts';
import { ownNamespaceOf } from '../../backends/linux/fabric.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { announcementsContract } from './announcements.ts';
import { cgroupsContract } from './cgroups.ts';
import { clockContract } from './clock.ts';
import { containersContract } from './containers.ts';
import type { ContractCase, ContractFixture, ReadBack } from './contract.ts';
import { egressRatesContract } from './egress-rates.ts';
import { firewallContract } from './firewall.ts';
import { firewallMarksContract } from './firewall-marks.ts';
import { firewallPacketsContract } from './firewall-packets.ts';
import { linuxFirewallContract } from './linux-firewall.ts';
import { linuxDockerUserContract } from './linux-docker-user.ts';
import { linuxIptablesContract } from './linux-iptables.ts';
import { linkMovesContract } from './link-moves.ts';
import { linksContract } from './links.ts';
import { linuxCrashContract } from './linux-crash.ts';
import { openTestHost } from './linux-host.ts';
import { linuxMarksContract } from './linux-marks.ts';
import { linuxNetworkContract } from './linux-network-contract.ts';
import { joinHosts, type ReadNetwork, readNetworkOf } from './linux-network.ts';
import { layForeignQdisc } from './linux-shaper-text.ts';
import { linuxShaperContract } from './linux-shaper.ts';
import { machineContract } from './machine.ts';
import { namespacesContract } from './namespaces.ts';
import { probesContract } from './probes.ts';
import { routingContract } from './routing.ts';
import { shaperPacketsContract } from './shaper-packets.ts';
import { shaperContract } from './shaper.ts';
import { linuxStreamsContract } from './linux-streams.ts';
import { streamsContract } from './streams.ts';
import { supervisionContract } from './supervision.ts';

/** The bodies that the Linux host passes, by capability. */
export const LINUX_CONTRACTS: Readonly<Record<string, readonly ContractCase[]>> = {
  cgroups: cgroupsContract,
  containers: containersContract,
  supervision: supervisionContract,
  machine: machineContract,
  firewall: firewallContract,
  'firewall on packets': firewallPacketsContract,
  'firewall marks': [...firewallMarksContract, ...linuxMarksContract],
  'firewall and others': linuxFirewallContract,
  'firewall beside Docker': linuxDockerUserContract,
  'firewall in iptables': linuxIptablesContract,
  clock: clockContract,
  namespaces: namespacesContract,
  links: linksContract,
  'moves of links': linkMovesContract,
  routing: routingContract,
  announcements: announcementsContract,
  shaper: shaperContract,
  'shaper on packets': shaperPacketsContract,
  'shaper on Linux alone': linuxShaperContract,
  probes: probesContract,
  streams: [...streamsContract, ...linuxStreamsContract],
  'egress on packets': egressRatesContract,
  crashes: linuxCrashContract,
  'network on Linux alone': linuxNetworkContract,
};

/** Generous: a guest without hardware help is up to fifty times slower. */
const WAIT_MS = 60_000;

/** Why the Linux contracts cannot run here; null where they can. */
export function whyNotHere(): string | null {
  if (process.platform !== 'linux') return `the Linux host needs Linux, this is ${process.platform}`;
  if (process.geteuid?.() !== 0) return 'the Linux host needs root: cgroups are made';
  return findLayout() === null ? 'the machine has no cgroup memory controller' : null;
}

/**
 * Runs one body on a fresh host, and leaves nothing behind.
 * @param pfs cards of the machine: the host's own namespace is the machine's then
 */
export async function runOnLinux(contractCase: ContractCase, pfs?: readonly [string, string]): Promise<void> {
  const name = 'contract';
  const host = await openTestHost(name, pfs === undefined ? 'own' : 'machine');
  const closing = [() => host.close()];
  const fixture: ContractFixture = {
    host,
    backend: 'linux',
    cgroupVersion: host.cgroupVersion,
    settle: (work) => work(),
    waitUntil,
    readBack: { ...readBackOf(host.cgroupVersion, runMark(name)), ...readNetworkOf(runMark(name), pfs !== undefined) },
    another: async (otherName) => {
      const other = await openTestHost(otherName);
      closing.push(() => other.close());
      closing.push(await joinHosts(name, otherName));
      return other;
    },
    layForeignQdisc: (link) => layForeignQdisc(runMark(name), link),
    ...(pfs !== undefined && { pfs }),
  };
  try {
    await contractCase.run(fixture);
  } finally {
    for (const close of closing.toReversed()) await close();
  }
}

export async function waitUntil(predicate: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const until = performance.now() + WAIT_MS;
  while (!(await predicate())) {
    if (performance.now() > until) throw new Error(`waited ${WAIT_MS / 1000} s in vain for ${what}`);
    await sleep(5);
  }
}

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8' }).trim();

function readBackOf(version: 1 | 2, mark: string): Omit<ReadBack, keyof ReadNetwork> {
  const layout = findLayout()!;
  const root = `${layout.version === 1 ? layout.memoryMount : layout.mount}/${mark}`;
  const file = {
    limit: version === 1 ? 'memory.limit_in_bytes' : 'memory.max',
    usage: version === 1 ? 'memory.usage_in_bytes' : 'memory.current',
  };
  return {
    cgroupPaths: async () => {
      const found = run('find', root, '-mindepth', '1', '-type', 'd', '-printf', '%P\\n');
      return found === '' ? [] : found.split('\n').sort();
    },
    limitBytes: async (path) => {
      const text = run('cat', `${root}/${path}/${file.limit}`);
      return text === 'max' || text === '9223372036854771712' ? null : Number(text);
    },
    usageBytes: async (path) => Number(run('cat', `${root}/${path}/${file.usage}`)),
    processes: async (path) =>
      run('cat', `${root}/${path}/cgroup.procs`)
        .split('\n')
        .filter((line) => line !== '').length,
    ramBytes: async () => Number(run('awk', '/^MemTotal:/ { print $2 }', '/proc/meminfo')) * 1024,
    cpus: async () => Number(run('nproc', '--all')),
    firewallText: async () => run('nsenter', `--net=${ownNamespaceOf(mark)}`, 'nft', 'list', 'ruleset'),
  };
}
