import { expect, test } from 'vitest';
import { HOPS } from '../../../../backends/sim/packet-costs.ts';
import { hopsOf } from '../../../../bench/nic/hops.ts';
import { PARTS, type PathSpec, SHOWN } from '../../../../bench/nic/paths.ts';

const met = async (path: PathSpec): Promise<Record<string, number>> =>
  Object.fromEntries(Object.entries(await hopsOf(path)).filter(([, count]) => count > 0));
const named = (name: string): PathSpec => [...SHOWN, ...PARTS].find((path) => path.name === name)!;

test('every path can be walked in the simulator, and each hop that has a price is met by two of them', async () => {
  const all = await Promise.all([...SHOWN, ...PARTS].map(hopsOf));
  const counted = HOPS.map((hop) => [hop, all.filter((hops) => hops[hop] > 0).length] as const);
  // A wire of the bench's own is a veth, and has no VF.
  const unmet = counted.filter(([, paths]) => paths < 2).map(([hop]) => hop);
  expect(unmet).toEqual(['wire', 'vf']);
});

test('a packet of each path meets what the path is said to consist of', async () => {
  expect(await met(named('direct'))).toEqual({ send: 1, veth: 1 });
  expect(await met(named('macvlan'))).toEqual({ send: 1, macvlan: 1, veth: 1 });
  expect(await met(named('bridge-routed'))).toEqual({ send: 1, veth: 2, bridge: 1, bridgeCall: 1, route: 1 });
  expect(await met(named('docker-nat'))).toMatchObject({ hook: 1, foreignRule: 10, track: 1, translate: 1 });
  expect(await met(named('nat'))).toMatchObject({ bridge: 1, route: 1, track: 1, translate: 1 });
  expect(await met(named('nat-shaped'))).toMatchObject({ qdisc: 1 });
});

test('a tunnel is paid for up to the wire: the sink throws its packets away as they come', async () => {
  expect(await met(named('overlay'))).toMatchObject({ tunnel: 1, veth: 2 });
});
