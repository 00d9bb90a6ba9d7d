// What the bodies of the network's capabilities have in common.
import assert from 'node:assert/strict';
import type { Host } from '../../src/host/host.ts';
import type { LinkChange, LinkSettings, LinkSpec } from '../../src/host/links.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import type { Probe, ProbeResult } from '../../src/host/probes.ts';
import type { AddressEntry, RoutingEntry } from '../../src/host/routing.ts';
import { assertApplied, type ContractFixture } from './contract.ts';

type Settling = Pick<ContractFixture, 'settle' | 'host'>;

/** A veth with this end in the host's own namespace and `eth0` in another. */
export const veth = (name: string, namespace: NamespaceName, peerName = 'eth0'): LinkSpec => ({
  namespace: '',
  name,
  alias: `contract ${name}`,
  kind: { type: 'veth', peer: { namespace, name: peerName, alias: `contract ${namespace}` } },
});

export const bridge = (name: string, namespace: NamespaceName = ''): LinkSpec => ({
  namespace,
  name,
  alias: `contract ${name}`,
  kind: { type: 'bridge' },
});

export const vxlan = (name: string, vni: number, local: string): LinkSpec => ({
  namespace: '',
  name,
  alias: `contract ${name}`,
  mtu: 1450,
  kind: { type: 'vxlan', vni, local, udpPort: 4789 },
});

export const change = (namespace: NamespaceName, name: string, set: LinkSettings): LinkChange => ({
  namespace,
  name,
  set,
});

export const address = (namespace: NamespaceName, link: string, prefix: string): AddressEntry => ({
  kind: 'address',
  namespace,
  link,
  prefix,
});

export async function makeNamespaces({ host, settle }: Settling, names: readonly string[]): Promise<void> {
  assertApplied(await settle(() => host.namespaces.create(names)), names.length);
}

export async function makeLinks({ host, settle }: Settling, specs: readonly LinkSpec[]): Promise<void> {
  assertApplied(await settle(() => host.links.create(specs)), specs.length);
}

export async function setLinks({ host, settle }: Settling, changes: readonly LinkChange[]): Promise<void> {
  assertApplied(await settle(() => host.links.set(changes)), changes.length);
}

export async function addEntries({ host, settle }: Settling, entries: readonly RoutingEntry[]): Promise<void> {
  assertApplied(await settle(() => host.routing.add(entries)), entries.length);
}

/** A namespace with `eth0`, up and addressed, whose other end is up in the host's own. */
export async function attach(
  fixture: Settling,
  namespace: NamespaceName,
  port: string,
  prefix: string,
  master?: string,
): Promise<void> {
  await makeNamespaces(fixture, [namespace]);
  await makeLinks(fixture, [veth(port, namespace)]);
  await setLinks(fixture, [
    change('', port, { up: true, ...(master === undefined ? {} : { master }) }),
    change(namespace, 'eth0', { up: true }),
  ]);
  await addEntries(fixture, [address(namespace, 'eth0', prefix)]);
}

/** The port at which the bodies' places answer. */
export const PORT = 7007;

export const udp = (from: NamespaceName, to: string, more: Partial<Probe> = {}): Probe => ({
  from,
  to,
  protocol: 'udp',
  port: PORT,
  ...more,
});

export const icmp = (from: NamespaceName, to: string): Probe => ({ from, to, protocol: 'icmp' });

/** Lets these namespaces answer while the probes are sent. */
export async function probe(
  { host, settle }: Settling,
  answering: readonly { readonly host: Host; readonly namespace: NamespaceName }[],
  probes: readonly Probe[],
): Promise<readonly ProbeResult[]> {
  return await settle(async () => {
    const open = await Promise.all(
      answering.map((place) => place.host.probes.answer([{ namespace: place.namespace, port: PORT }])),
    );
    try {
      const results = await host.probes.send(probes);
      // On a busy machine an answer may come when nobody waits any more: nobody answers who is silent twice.
      const silent = probes.filter((_, index) => results[index]!.answeredBy === null);
      const again = silent.length === 0 ? [] : await host.probes.send(silent);
      return results.map((result, index) => again[silent.indexOf(probes[index]!)] ?? result);
    } finally {
      for (const each of open) await each.close();
    }
  });
}

/** Who answered each, in order; null: nobody. */
const answerers = (results: readonly ProbeResult[]): (string | null)[] => results.map(({ answeredBy }) => answeredBy);

export function assertAnswered(results: readonly ProbeResult[], expected: readonly (string | null)[]): void {
  assert.deepEqual(answerers(results), expected, results.map(({ why }) => why).join('; '));
}
