// Small networks for tests of the walk: hosts on a fabric, containers behind bridges, tunnels between them.
import assert from 'node:assert/strict';
import type { SimulatedMachine } from '../../../../backends/sim/machine.ts';
import type { Simulation } from '../../../../backends/sim/simulation.ts';
import type { Applied } from '../../../../src/host/batch.ts';
import type { FirewallElement } from '../../../../src/host/firewall.ts';
import type { Host } from '../../../../src/host/host.ts';
import type { LinkSettings, LinkSpec } from '../../../../src/host/links.ts';
import type { Probe } from '../../../../src/host/probes.ts';
import type { RoutingEntry } from '../../../../src/host/routing.ts';
import { bytes, GIB } from '../../../../src/host/units.ts';
import { simulate } from './harness.ts';

/** Machines named h1, h2 and so on, at 192.168.77.11, .12 and so on. */
export const hostsOnFabric = (count: number, beside: Partial<SimulatedMachine> = {}): Simulation =>
  simulate({
    hosts: Array.from({ length: count }, (_, index) => ({
      name: `h${index + 1}`,
      ramBytes: bytes(GIB),
      cpus: 2,
      cgroupVersion: 2 as const,
      ...beside,
    })),
  });

export function done(applied: Applied): void {
  assert.equal(applied.error, undefined, applied.error?.message);
}

export const make = async (host: Host, ...specs: readonly (Omit<LinkSpec, 'alias'> & { alias?: string })[]) =>
  done(await host.links.create(specs.map((spec) => ({ alias: 'lab', ...spec }))));

export const set = async (host: Host, name: string, settings: LinkSettings, namespace = '') =>
  done(await host.links.set([{ namespace, name, set: settings }]));

export const add = async (host: Host, ...entries: readonly RoutingEntry[]) => done(await host.routing.add(entries));

/** A container: a namespace with `eth0`, and `plp-NAME` on the host, up, on a bridge if one is named. */
export async function container(
  host: Host,
  name: string,
  prefix: string,
  { bridge, mac, mtu = 1500 }: { bridge?: string; mac?: string; mtu?: number } = {},
): Promise<void> {
  done(await host.namespaces.create([name]));
  const peer = { namespace: name, name: 'eth0', alias: 'lab', mtu, ...(mac !== undefined && { mac }) };
  await make(host, { namespace: '', name: `plp-${name}`, mtu, kind: { type: 'veth', peer } });
  await set(host, `plp-${name}`, { up: true, ...(bridge !== undefined && { master: bridge }) });
  await set(host, 'eth0', { up: true }, name);
  await add(host, { kind: 'address', namespace: name, link: 'eth0', prefix });
}

export async function bridge(host: Host, name: string): Promise<void> {
  await make(host, { namespace: '', name, kind: { type: 'bridge' } });
  await set(host, name, { up: true });
}

/** A VXLAN that is a port of this bridge, to the containers named: their address, MAC and host. */
export async function tunnel(
  host: Host,
  name: string,
  master: string,
  vni: number,
  local: string,
  far: readonly { address: string; mac: string; host: string }[],
): Promise<void> {
  await make(host, { namespace: '', name, mtu: 1450, kind: { type: 'vxlan', vni, local, udpPort: 47_890 } });
  await set(host, name, { up: true, master, learning: false });
  const at = { namespace: '', link: name };
  for (const { address, mac, host: destination } of far)
    await add(
      host,
      { kind: 'fdb', ...at, mac, destination },
      { kind: 'fdb', ...at, mac },
      { kind: 'neighbour', ...at, address, mac },
    );
}

/** An element of a set of the inet family. */
export const inSet = (set: string, key: string, value?: string): FirewallElement => ({
  family: 'inet',
  set,
  key,
  ...(value !== undefined && { value }),
});

export const icmp = (from: string, to: string, payloadBytes?: number): Probe => ({
  from,
  to,
  protocol: 'icmp',
  ...(payloadBytes !== undefined && { payloadBytes }),
});

export const udp = (from: string, to: string, port: number, forgedSource?: string): Probe => ({
  from,
  to,
  protocol: 'udp',
  port,
  ...(forgedSource !== undefined && { forgedSource }),
});

/** Sends one. */
export async function sent(host: Host, probe: Probe) {
  const [result] = await host.probes.send([probe]);
  return result!;
}

/** Why nobody answered; fails where somebody did. */
export async function whyNot(host: Host, probe: Probe): Promise<string> {
  const { answeredBy, why } = await sent(host, probe);
  assert.equal(answeredBy, null, `answered by ${answeredBy}`);
  return why;
}
