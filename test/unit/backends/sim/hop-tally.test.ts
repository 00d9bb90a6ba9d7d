import { expect, test } from 'vitest';
import type { HopCounts } from '../../../../backends/sim/packet-costs.ts';
import type { Simulation } from '../../../../backends/sim/simulation.ts';
import type { FirewallChain, FirewallFrame, FirewallRule } from '../../../../src/host/firewall.ts';
import { add, bridge, container, done, hostsOnFabric, make, set, tunnel } from './lab.ts';

const THERE = '192.168.77.12';

/** What a datagram passes, by host, without what it does not. */
function passed(simulation: Simulation, from: string, to: string, host = 'h1') {
  const hops = simulation.hopsOf(host, { from, to, port: 9, payloadBytes: 64 });
  return hops && Object.fromEntries(Object.entries(hops).map(([name, counts]) => [name, met(counts)]));
}

const met = (counts: HopCounts) => Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));

/** A container behind a bridge that its host routes to another. */
async function routed(simulation: Simulation): Promise<void> {
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  await bridge(h1, 'br0');
  await container(h1, 'web', '10.1.0.5/24', { bridge: 'br0' });
  await add(h1, { kind: 'address', namespace: '', link: 'br0', prefix: '10.1.0.1/24' });
  await add(h1, { kind: 'route', namespace: 'web', link: 'eth0', to: '0.0.0.0/0', via: '10.1.0.1' });
  await set(h1, 'br0', { forwarding: true });
  await add(h2, { kind: 'route', namespace: '', link: 'eth0', to: '10.1.0.0/24', via: '192.168.77.11' });
}

const other = (index: number): FirewallRule => ({
  when: [{ fields: ['ip saddr'], is: { value: `203.0.113.${index}` } }],
  verdict: 'drop',
});
const forwarding = (...rules: FirewallRule[]): FirewallChain => ({
  family: 'inet',
  name: 'forward',
  type: 'filter',
  hook: 'forward',
  priority: 0,
  rules,
});
const frame = (...chains: FirewallChain[]): FirewallFrame => ({ sets: [], chains });

test('each host pays for its own part of the way', () => {
  const simulation = hostsOnFabric(2);
  expect(passed(simulation, '', THERE)).toEqual({ h1: { send: 1, wire: 1 }, h2: { wire: 1 } });
  expect(passed(simulation, '', '192.168.77.99')).toBeNull();
  expect(() => passed(simulation, 'web', THERE)).toThrow(RangeError);
  expect(() => passed(simulation, '', THERE, 'h9')).toThrow(RangeError);
});

test('a veth, a bridge and a route are a hop each', async () => {
  const simulation = hostsOnFabric(2);
  await routed(simulation);
  expect(passed(simulation, 'web', THERE)).toEqual({
    h1: { send: 1, veth: 1, bridge: 1, route: 1, wire: 1 },
    h2: { wire: 1 },
  });
  expect(passed(simulation, 'web', '10.1.0.1')).toEqual({ h1: { send: 1, veth: 1, bridge: 1 } });
});

test('a macvlan is one on either side', async () => {
  const simulation = hostsOnFabric(2);
  const h2 = simulation.host('h2');
  done(await h2.namespaces.create(['m']));
  await make(h2, { namespace: 'm', name: 'eth0', kind: { type: 'macvlan', parent: 'eth0' } });
  await set(h2, 'eth0', { up: true }, 'm');
  await add(h2, { kind: 'address', namespace: 'm', link: 'eth0', prefix: '192.168.77.50/24' });
  expect(passed(simulation, '', '192.168.77.50')).toEqual({ h1: { send: 1, wire: 1 }, h2: { wire: 1, macvlan: 1 } });
  expect(passed(simulation, 'm', '192.168.77.11', 'h2')).toEqual({
    h2: { send: 1, macvlan: 1, wire: 1 },
    h1: { wire: 1 },
  });
});

test('a tunnel is one at each end, though where its packets come out is remembered', async () => {
  const simulation = hostsOnFabric(2);
  const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02'];
  const addresses = ['10.0.0.1', '10.0.0.2'];
  const hosts = ['192.168.77.11', THERE];
  for (const [index, name] of ['h1', 'h2'].entries()) {
    const host = simulation.host(name);
    await bridge(host, 'br0');
    await container(host, 'c', `${addresses[index]}/24`, { bridge: 'br0', mac: macs[index]!, mtu: 1450 });
    const far = 1 - index;
    await tunnel(host, 'vx0', 'br0', 7, hosts[index]!, [
      { address: addresses[far]!, mac: macs[far]!, host: hosts[far]! },
    ]);
  }
  const ends = ['h1', 'h2'].map((host, index) => ({ host, namespace: 'c', address: addresses[index]! }));
  const way = {
    h1: { send: 1, veth: 1, bridge: 1, tunnel: 1, wire: 1 },
    h2: { wire: 1, tunnel: 1, bridge: 1, veth: 1 },
  };
  expect(passed(simulation, 'c', '10.0.0.2')).toEqual(way);
  expect(Array.from(simulation.reachability(ends))).toEqual([0, 1, 0, 1]);
  expect(passed(simulation, 'c', '10.0.0.2')).toEqual(way);
});

test('a VF is told from the wire', async () => {
  const simulation = hostsOnFabric(2, { nics: [{ link: 'pf0', driver: 'igb' }] });
  const h1 = simulation.host('h1');
  await simulation.run(async () => {
    done(await h1.virtualFunctions.enable([{ pf: 'pf0', count: 1 }]));
    done(await h1.virtualFunctions.bind([{ pf: 'pf0', index: 0 }]));
    done(await h1.namespaces.create(['v']));
    done(await h1.links.move([{ namespace: '', name: 'eth1', to: { namespace: 'v', name: 'eth0' } }]));
    await set(h1, 'eth0', { up: true }, 'v');
    await add(h1, { kind: 'address', namespace: 'v', link: 'eth0', prefix: '192.168.77.60/24' });
  });
  expect(passed(simulation, 'v', THERE)).toEqual({ h1: { send: 1, vf: 1 }, h2: { wire: 1 } });
});

test('rules cost by what is looked at until one of them decides', async () => {
  const simulation = hostsOnFabric(2);
  await routed(simulation);
  const h1 = simulation.host('h1');
  const matches = async (...rules: FirewallRule[]) => {
    done(await h1.firewall.apply([{ frame: frame(forwarding(...rules)), add: [], remove: [] }]));
    return passed(simulation, 'web', THERE)!['h1'];
  };
  const bare = { send: 1, veth: 1, bridge: 1, route: 1, wire: 1, hook: 1 };
  expect(await matches()).toEqual(bare);
  expect(await matches(other(1), other(2), other(3))).toEqual({ ...bare, match: 3 });
  // A name of a link that a packet has not is found out beforehand when packets only walk: here it costs.
  const elsewhere: FirewallRule = { when: [{ fields: ['iifname'], is: { value: 'eth7' } }], verdict: 'drop' };
  expect(await matches(elsewhere, other(1), { when: [], verdict: 'accept' }, other(2))).toEqual({ ...bare, match: 2 });
  // However many fields are looked for together, it is looked once.
  const among: FirewallRule = {
    when: [{ fields: ['iifname', 'ip saddr'], not: true, is: { set: 'some' } }],
    verdict: 'accept',
  };
  const sets = [{ family: 'inet', name: 'some', fields: ['iifname', 'ip saddr'] }] as const;
  done(await h1.firewall.apply([{ frame: { ...frame(forwarding(among)), sets }, add: [], remove: [] }]));
  expect(passed(simulation, 'web', THERE)!['h1']).toEqual({ ...bare, lookup: 1 });
});

test('of a flow under way nat is not asked again, and what nobody answered is still new', async () => {
  const simulation = hostsOnFabric(2);
  await routed(simulation);
  const established: FirewallRule = {
    when: [{ fields: ['ct state'], is: { value: 'established' } }],
    verdict: 'accept',
  };
  const nat: FirewallChain = {
    family: 'inet',
    name: 'nat',
    type: 'nat',
    hook: 'postrouting',
    priority: 100,
    rules: [
      ...[1, 2, 3, 4].map((index): FirewallRule => ({ ...other(index), verdict: 'accept' })),
      { when: [{ fields: ['ip saddr'], is: { value: '10.1.0.0/24' } }], verdict: 'masquerade' },
    ],
  };
  const given = frame(forwarding(established, other(1), other(2)), nat);
  done(await simulation.host('h1').firewall.apply([{ frame: given, add: [], remove: [] }]));
  expect(passed(simulation, 'web', THERE)!['h1']).toEqual({
    send: 1,
    veth: 1,
    bridge: 1,
    route: 1,
    wire: 1,
    hook: 1,
    match: 3,
    track: 1,
    translate: 1,
  });
});

test('another firewall costs by the rules that a forwarded packet passes, and where bridges call it', async () => {
  const simulation = hostsOnFabric(2, { foreignRules: 10, bridgeNfCallIptables: true });
  await routed(simulation);
  await container(simulation.host('h1'), 'peer', '10.1.0.6/24', { bridge: 'br0' });
  expect(passed(simulation, 'web', THERE)!['h1']).toEqual({
    send: 1,
    veth: 1,
    bridge: 1,
    bridgeCall: 1,
    route: 1,
    wire: 1,
    track: 1,
    hook: 1,
    foreignRule: 10,
  });
  expect(passed(simulation, 'web', '10.1.0.6')!['h1']).toEqual({
    send: 1,
    veth: 2,
    bridge: 1,
    bridgeCall: 1,
    track: 1,
    hook: 1,
    foreignRule: 10,
  });
});

test('asking what a packet costs counts it in no class', async () => {
  const simulation = hostsOnFabric(2);
  const at = { namespace: '', name: 'eth0' };
  const { shaper } = simulation.host('h1');
  const rates = { rateBitsPerSec: 8e6, ceilBitsPerSec: 8e6, burstBytes: 15_000, ceilBurstBytes: 15_000 };
  done(
    await shaper.add([
      { ...at, kind: 'qdisc', defaultMinor: 1 },
      { ...at, kind: 'class', minor: 1, parentMinor: 0, ...rates, quantumBytes: 1500, fairQueue: false },
    ]),
  );
  expect(passed(simulation, '', THERE)).toEqual({ h1: { send: 1, qdisc: 1, wire: 1 }, h2: { wire: 1 } });
  expect((await shaper.counters([at]))[0]).toMatchObject({ sentPackets: 0, sentBytes: 0 });
});
