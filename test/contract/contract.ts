import type { HostError } from '../../src/host/errors.ts';
import type { Applied } from '../../src/host/batch.ts';
import type { CgroupPath } from '../../src/host/cgroups.ts';
import type { Host } from '../../src/host/host.ts';
import type { LinkName, LinkState } from '../../src/host/links.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { bytes, MIB, milliseconds, type Bytes } from '../../src/host/units.ts';
import type { VfKnobs, VfName } from '../../src/host/virtual-functions.ts';
import type { ContainerSpec } from '../../src/host/containers.ts';
import type { Workload } from '../../src/host/workload.ts';
import assert from 'node:assert/strict';

/** What every host must do, said once: a body is a plain function, so that Vitest and a bare `node` can both run it. */
export interface ContractCase {
  readonly name: string;
  run(fixture: ContractFixture): Promise<void>;
}

/** One fresh host and what a body needs around it. */
export interface ContractFixture {
  readonly host: Host;
  readonly backend: 'sim' | 'linux';
  readonly cgroupVersion: 1 | 2;
  /** Runs work to its end; on the simulated host virtual time goes on meanwhile. */
  readonly settle: <T>(work: () => Promise<T>) => Promise<T>;
  /** Lets time go on until the predicate holds. Fails, naming `what`, after a generous limit. */
  readonly waitUntil: (predicate: () => boolean | Promise<boolean>, what: string) => Promise<void>;
  readonly readBack: ReadBack;
  /**
   * One more host, on a common fabric: from then on both have `eth0`, up, of MTU 1500, this one with ADDRESS_HERE, the
   * other with ADDRESS_THERE. Once a body.
   */
  readonly another: (name: string) => Promise<Host>;
  /** Lays an HTB of handle `1:` as the root qdisc of a link, as somebody else would. */
  readonly layForeignQdisc: (link: LinkName) => Promise<void>;
  /**
   * Two PFs in the host's own namespace, up, without VFs, on one wire, in order of name. Each is an Intel 82576: driver `igb`
   * (the VFs' `igbvf`), 7 VFs, 1 Gbit/s; it takes neither `linkState` nor `minRateBitsPerSec`, nor 802.1ad. Only the
   * bodies of virtual functions have them.
   */
  readonly pfs?: readonly [string, string];
}

export const ADDRESS_HERE = '192.168.77.11/24';
export const ADDRESS_THERE = '192.168.77.12/24';

/** Another tool than the one that wrote: on Linux `find`, `cat` and raw files, on the simulated host the model's own view. */
export interface ReadBack {
  /** Every cgroup under the host's root, in order of path. */
  cgroupPaths(): Promise<readonly CgroupPath[]>;
  limitBytes(path: CgroupPath): Promise<number | null>;
  usageBytes(path: CgroupPath): Promise<number>;
  /** Living processes in this cgroup itself. */
  processes(path: CgroupPath): Promise<number>;
  ramBytes(): Promise<number>;
  cpus(): Promise<number>;
  /** The sets, elements and rules of the host's own namespace, as another tool lists them; empty where there is none. */
  firewallText(): Promise<string>;
  /** The network namespaces of the host but its own, in order. */
  namespaces(): Promise<readonly string[]>;
  /** A link as another tool tells it; null where it is not there. */
  link(link: LinkName): Promise<ReadLink | null>;
  /** What a PF tells of one of its VFs; null where there is none of that number. */
  vf(name: VfName): Promise<VfKnobs | null>;
  /** What somebody put into the tables of a namespace: the keys of its entries, in order. */
  routing(namespace: NamespaceName): Promise<readonly string[]>;
  /** What shapes a link, a line each, in order: see `shaperLines`. */
  shaper(link: LinkName): Promise<readonly string[]>;
}

/** What every tool tells of a link. */
export type ReadLink = Pick<
  LinkState,
  'type' | 'up' | 'mtu' | 'mac' | 'alias' | 'master' | 'learning' | 'hairpin' | 'forwarding' | 'ipv6' | 'qdisc'
>;

export const mib = (count: number): Bytes => bytes(count * MIB);
export const ms = milliseconds;
export const constant = (count: number): Workload => ({ memory: { kind: 'constant', bytes: mib(count) } });

/** How far a real process may stray from its curve: the runtime's own noise and v1's charging steps. */
export const STRAY_BYTES = 3 * MIB;

/** Is it within a few MiB of that? */
export const near = (value: number, expected: number, strayBytes = STRAY_BYTES): boolean =>
  Math.abs(value - expected) <= strayBytes;

/** The whole batch took effect. */
export function assertApplied(applied: Applied, count: number): void {
  assert.equal(applied.error, undefined, applied.error?.message);
  assert.equal(applied.applied, count);
}

/** The batch stopped at its `applied`-th target with this refusal. */
export function assertRefused(
  result: Applied,
  expected: { readonly applied: number } & Pick<HostError, 'code' | 'operation' | 'target'>,
): void {
  const { error } = result;
  assert.ok(error, `expected ${expected.code}, but all was applied`);
  assert.deepEqual(
    { applied: result.applied, name: error.name, code: error.code, operation: error.operation, target: error.target },
    {
      applied: expected.applied,
      name: 'HostError',
      code: expected.code,
      operation: expected.operation,
      target: expected.target,
    },
  );
}

/** A synchronous verb refuses so. */
export function assertThrows(action: () => unknown, expected: Pick<HostError, 'code' | 'operation' | 'target'>): void {
  assert.throws(action, (error: HostError) => {
    assert.deepEqual(
      { name: error.name, code: error.code, operation: error.operation, target: error.target },
      { name: 'HostError', code: expected.code, operation: expected.operation, target: expected.target },
    );
    return true;
  });
}

/** Makes cgroups, parents first, and insists that it works. */
export async function makeCgroups({ host, settle }: ContractFixture, paths: readonly CgroupPath[]): Promise<void> {
  assertApplied(await settle(() => host.cgroups.create(paths.map((path) => ({ path })))), paths.length);
}

/** A container under `pen`, named by the last part of its cgroup. */
export const inPen = (name: string, workload: Workload): ContainerSpec => ({ name, cgroup: `pen/${name}`, workload });

/** Makes `pen` and a cgroup in it for each container, and starts them all at once. */
export async function startInPen(
  fixture: ContractFixture,
  workloads: Readonly<Record<string, Workload>>,
): Promise<void> {
  const specs = Object.entries(workloads).map(([name, workload]) => inPen(name, workload));
  await makeCgroups(fixture, ['pen', ...specs.map((spec) => spec.cgroup)]);
  assertApplied(await fixture.settle(() => fixture.host.containers.start(specs)), specs.length);
}

/** Waits until a cgroup's usage, read through the port, is near this. */
export async function waitForUsage(
  { host, waitUntil }: ContractFixture,
  path: CgroupPath,
  expected: number,
  strayBytes = STRAY_BYTES,
): Promise<void> {
  const reader = host.cgroups.open(path);
  try {
    let seen = 0;
    await waitUntil(() => {
      seen = reader.usageBytes();
      return near(seen, expected, strayBytes);
    }, `usage of ${path} near ${expected}`);
  } finally {
    reader.close();
  }
}
