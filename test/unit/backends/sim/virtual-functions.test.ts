import { expect, test } from 'vitest';
import type { SimulatedNic } from '../../../../backends/sim/nics.ts';
import type { Simulation } from '../../../../backends/sim/simulation.ts';
import type { HostError } from '../../../../src/host/errors.ts';
import type { Host } from '../../../../src/host/host.ts';
import { bytes, GIB } from '../../../../src/host/units.ts';
import { vfDriverOf } from '../../../../src/host/vf-drivers.ts';
import type { VfKnobs, VirtualFunction } from '../../../../src/host/virtual-functions.ts';
import { simulate } from './harness.ts';
import { add, bridge, container, done, icmp, sent, set, whyNot } from './lab.ts';

const MBIT = 1_000_000;
const MAC = (index: number): string => `02:00:00:00:00:0${index}`;
const codeOf = ({ error }: { error?: HostError }): string | undefined => error?.code;

/** Hosts h1, h2 and so on with a card each, `eth0`, which is the uplink too. */
const withCards = (count: number, nic: Partial<SimulatedNic> = {}): Simulation =>
  simulate({
    hosts: Array.from({ length: count }, (_, index) => ({
      name: `h${index + 1}`,
      ramBytes: bytes(GIB),
      cpus: 2,
      cgroupVersion: 2 as const,
      nics: [{ link: 'eth0', driver: 'igb', ...nic }],
    })),
  });

const vf = (index: number) => ({ pf: 'eth0', index });

async function find(host: Host, index: number, ...namespaces: string[]): Promise<VirtualFunction> {
  return (await host.virtualFunctions.list(namespaces)).virtual[index]!;
}

/** A VF with its link, `vf0`, up in a namespace of its own, with an address. */
async function hand(host: Host, index: number, name: string, prefix: string, knobs: Partial<VfKnobs>): Promise<void> {
  done(await host.namespaces.create([name]));
  done(await host.virtualFunctions.set([{ ...vf(index), set: knobs }]));
  done(await host.virtualFunctions.bind([vf(index)]));
  const { link } = await find(host, index);
  done(await host.links.move([{ ...link!, to: { namespace: name, name: 'vf0' } }]));
  await set(host, 'vf0', { up: true }, name);
  await add(host, { kind: 'address', namespace: name, link: 'vf0', prefix });
}

const reaches = async (host: Host, from: string, to: string): Promise<boolean> =>
  (await sent(host, icmp(from, to))).answeredBy !== null;

test.each([
  ['igb', [false, true]],
  ['mlx5_core', [false, false]],
  ['i40e', [true, true]],
] as const)('the link of a VF of %s takes the MAC that its PF gives when its driver does', async (driver, expected) => {
  const simulation = withCards(1, { driver });
  const host = simulation.host('h1');
  await simulation.run(async () => {
    done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 1 }]));
    done(await host.virtualFunctions.bind([vf(0)]));
    const { link } = await find(host, 0);
    await set(host, link!.name, { up: true });
    const followed: boolean[] = [];
    // What is so is asked of no driver, also not of one that takes no address back.
    done(await host.virtualFunctions.set([{ ...vf(0), set: { mac: '00:00:00:00:00:00' } }]));
    done(await host.virtualFunctions.set([{ ...vf(0), set: { mac: MAC(1) } }]));
    followed.push((await find(host, 0)).linkMac === MAC(1));
    for (const up of [false, true]) await set(host, link!.name, { up });
    followed.push((await find(host, 0)).linkMac === MAC(1));
    expect(followed).toEqual(expected);
    done(await host.virtualFunctions.unbind([vf(0)]));
    done(await host.virtualFunctions.bind([vf(0)]));
    expect((await find(host, 0)).linkMac).toBe(MAC(1));
  });
});

test('enabling takes the link away for a while; a card whose wire is cut meanwhile: ETIMEDOUT, and its VFs are there', async () => {
  const simulation = withCards(1);
  const host = simulation.host('h1');
  await simulation.run(async () => {
    done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 2 }]));
    expect(simulation.nowMs()).toBeGreaterThanOrEqual(2800);
    const taking = host.virtualFunctions.enable([{ pf: 'eth0', count: 0 }]);
    simulation.mishaps('h1').cut('eth0', Number.POSITIVE_INFINITY);
    expect(codeOf(await taking)).toBe('ETIMEDOUT');
    expect((await host.virtualFunctions.list([])).physical[0]).toMatchObject({
      vfCount: 0,
      carrier: false,
      speedBitsPerSec: null,
    });
  });
});

test('rates wait for a link that flaps, and no longer than is bearable', async () => {
  const simulation = withCards(1);
  const host = simulation.host('h1');
  const limit = (rate: number) => host.virtualFunctions.set([{ ...vf(0), set: { maxRateBitsPerSec: rate * MBIT } }]);
  await simulation.run(async () => {
    done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 1 }]));
    simulation.mishaps('h1').cut('eth0', 3000);
    const beforeMs = simulation.nowMs();
    done(await limit(100));
    expect(simulation.nowMs() - beforeMs).toBeGreaterThanOrEqual(3000);
    simulation.mishaps('h1').cut('eth0', 60_000);
    expect(codeOf(await limit(200))).toBe('ENETDOWN');
    expect((await find(host, 0)).maxRateBitsPerSec).toBe(100 * MBIT);
  });
});

test('guarantees of all VFs together are within the link’s rate; a driver of one’s own behaves as it is told', async () => {
  const simulation = withCards(1, { driver: 'ours', behaviour: vfDriverOf('ice')!, totalVfs: 3, speedBitsPerSec: 1e9 });
  const host = simulation.host('h1');
  const guarantee = (index: number, rate: number) =>
    host.virtualFunctions.set([{ ...vf(index), set: { minRateBitsPerSec: rate * MBIT } }]);
  await simulation.run(async () => {
    expect(codeOf(await host.virtualFunctions.enable([{ pf: 'eth0', count: 4 }]))).toBe('ERANGE');
    done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 3 }]));
    done(await guarantee(0, 600));
    expect(codeOf(await guarantee(1, 600))).toBe('EINVAL');
    done(await guarantee(1, 400));
    done(await guarantee(0, 300));
    expect((await host.virtualFunctions.list([])).physical[0]?.driver).toBe('ours');
  });
  expect(() => withCards(1, { driver: 'ours' })).toThrow('its behaviour is not known');
});

test('ixgbevf finds no PF whose link is down', async () => {
  const simulation = withCards(1, { driver: 'ixgbe' });
  const host = simulation.host('h1');
  await simulation.run(async () => {
    done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 1 }]));
    simulation.mishaps('h1').cut('eth0', 1000);
    expect(codeOf(await host.virtualFunctions.bind([vf(0)]))).toBe('ETIMEDOUT');
    expect(await find(host, 0)).toMatchObject({ driver: null, link: null });
    await host.clock.sleep(1000);
    done(await host.virtualFunctions.bind([vf(0)]));
  });
});

test('a namespace gives its VFs back late, by another name where theirs is taken, and not while it is held', async () => {
  const simulation = withCards(1);
  const host = simulation.host('h1');
  const homes = async () =>
    (await host.virtualFunctions.list(['a', 'b'])).virtual.map(({ link }) => link?.name ?? null);
  await simulation.run(async () => {
    done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 3 }]));
    for (const [index, name] of ['a', 'b', 'c'].entries())
      await hand(host, index, name, `10.9.0.${index + 1}/24`, { mac: MAC(index + 1) });
    const release = simulation.mishaps('h1').hold('b');
    done(await host.namespaces.remove(['a', 'b', 'c']));
    expect(await homes()).toEqual([null, null, null]);
    await host.clock.sleep(1000);
    expect(await homes()).toEqual(['vf0', null, expect.stringMatching(/^dev\d+$/)]);
    expect(await find(host, 1, 'b')).toMatchObject({ driver: 'igbvf', link: null });
    // One of the name that is made anew is another.
    done(await host.namespaces.create(['b']));
    expect((await find(host, 1, 'b')).link).toBeNull();
    release();
    await host.clock.sleep(1000);
    expect((await homes())[1]).toMatch(/^dev\d+$/);
    expect((await host.links.list([''])).find(({ name }) => name === 'vf0')).toMatchObject({ up: false });
  });
});

test('a VF that was lost in a namespace without a name is taken back with its driver', async () => {
  const simulation = withCards(1);
  const host = simulation.host('h1');
  await simulation.run(async () => {
    done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 1 }]));
    done(await host.virtualFunctions.bind([vf(0)]));
    simulation.mishaps('h1').hide(vf(0));
    expect(await find(host, 0)).toMatchObject({ driver: 'igbvf', link: null });
    done(await host.virtualFunctions.unbind([vf(0)]));
    done(await host.virtualFunctions.bind([vf(0)]));
    expect((await find(host, 0)).link).toEqual({ namespace: '', name: 'eth1' });
  });
});

test('VFs meet their card, those of others on the wire and other hosts, each in its VLAN and by its kind of tag', async () => {
  const simulation = withCards(2, { driver: 'ours', behaviour: { ...vfDriverOf('ice')!, refuses: {} } });
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  await simulation.run(async () => {
    for (const host of [h1, h2]) done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 3 }]));
    await hand(h1, 0, 'plain', '192.168.77.101/24', { mac: MAC(1) });
    await hand(h1, 1, 'tagged', '192.168.77.102/24', { mac: MAC(2), vlan: 7 });
    await hand(h2, 0, 'far', '192.168.77.103/24', { mac: MAC(3), vlan: 7 });
    await hand(h2, 1, 'service', '192.168.77.104/24', { mac: MAC(4), vlan: 7, proto: '802.1ad' });
    const reached = async (host: Host, from: string): Promise<number[]> => {
      const all = [11, 12, 101, 102, 103, 104];
      const got = await Promise.all(all.map((last) => reaches(host, from, `192.168.77.${last}`)));
      return all.filter((_, index) => got[index]);
    };
    expect(await reached(h1, 'plain')).toEqual([11, 12, 101]);
    expect(await reached(h1, '')).toEqual([11, 12, 101]);
    expect(await reached(h1, 'tagged')).toEqual([102, 103]);
    expect(await reached(h2, 'service')).toEqual([104]);
    // Without its wire a card is all that its VFs reach, and that only where they are told to stay up.
    simulation.mishaps('h1').cut('eth0', Number.POSITIVE_INFINITY);
    expect(await whyNot(h1, icmp('plain', '192.168.77.12'))).toContain('vf0 in h1/plain has no carrier');
    await hand(h1, 2, 'beside', '192.168.77.105/24', { mac: MAC(5), linkState: 'enable' });
    done(await h1.virtualFunctions.set([{ ...vf(0), set: { linkState: 'enable' } }]));
    expect(await reached(h1, 'plain')).toEqual([101]);
    expect(await reaches(h1, 'plain', '192.168.77.105')).toBe(true);
  });
});

test('what a VF sends from another’s MAC its card drops, unless it is told not to look', async () => {
  const simulation = withCards(2);
  const host = simulation.host('h1');
  await simulation.run(async () => {
    done(await host.virtualFunctions.enable([{ pf: 'eth0', count: 2 }]));
    await hand(host, 0, 'a', '192.168.77.101/24', { mac: MAC(1) });
    // A MAC that is given to a bound VF is not its link's yet.
    done(await host.virtualFunctions.set([{ ...vf(0), set: { mac: MAC(2) } }]));
    expect(await whyNot(host, icmp('a', '192.168.77.12'))).toContain(
      'lets it send nothing from the MAC 02:00:00:00:00:01',
    );
    // What is sent now comes back to the MAC that the card no longer listens to.
    done(await host.virtualFunctions.set([{ ...vf(0), set: { spoofCheck: false } }]));
    expect(await reaches(host, 'a', '192.168.77.12')).toBe(false);
    expect(codeOf(await host.links.set([{ namespace: 'a', name: 'vf0', set: { mac: MAC(3) } }]))).toBe('EADDRNOTAVAIL');
    for (const up of [false, true]) await set(host, 'vf0', { up }, 'a');
    expect(await reaches(host, 'a', '192.168.77.12')).toBe(true);
    done(await host.virtualFunctions.set([{ ...vf(0), set: { spoofCheck: true, trust: true } }]));
    await set(host, 'vf0', { mac: MAC(3) }, 'a');
    done(await host.routing.announce([{ namespace: 'a', link: 'vf0', address: '192.168.77.101' }]));
    expect(await reaches(host, 'a', '192.168.77.12')).toBe(true);
  });
});

test('a link that moves leaves its bridge, addresses and routes behind; bridges and lo stay', async () => {
  const simulation = withCards(1);
  const host = simulation.host('h1');
  await bridge(host, 'br0');
  await container(host, 'a', '10.0.0.1/24', { bridge: 'br0' });
  await container(host, 'b', '10.0.0.2/24');
  const at = { namespace: 'a', link: 'eth0' };
  await add(host, { kind: 'route', ...at, to: '10.9.0.0/24', via: '10.0.0.2', source: '10.0.0.1' });
  const move = (namespace: string, name: string, to: string, as = name) =>
    host.links.move([{ namespace, name, to: { namespace: to, name: as } }]);
  expect(codeOf(await move('a', 'eth0', 'b'))).toBe('EEXIST');
  done(await move('a', 'eth0', 'b', 'eth1'));
  done(await move('a', 'eth0', 'b', 'eth1'));
  expect(await host.routing.list(['a'])).toEqual([]);
  expect((await host.links.list(['b'])).find(({ name }) => name === 'eth1')).toMatchObject({ up: false, type: 'veth' });
  done(await move('', 'plp-a', 'b'));
  expect((await host.links.list(['b'])).find(({ name }) => name === 'plp-a')).toMatchObject({ master: null });
  for (const name of ['br0', 'lo']) expect(codeOf(await move('', name, 'b', 'other'))).toBe('EINVAL');
  expect(codeOf(await move('', 'plp-b', 'b', 'a234567890123456'))).toBe('ERANGE');
  expect(codeOf(await move('', 'nosuch', 'b'))).toBe('ENODEV');
  expect(codeOf(await move('', 'plp-b', 'nosuch'))).toBe('ENODEV');
});

test('who knew where an address was sends there until it is announced elsewhere, or believed no more', async () => {
  const simulation = withCards(2);
  const [h1, h2] = [simulation.host('h1'), simulation.host('h2')];
  const announcement = { namespace: 'b', link: 'vf0', address: '192.168.77.101' };
  const prefix = '192.168.77.101/24';
  await simulation.run(async () => {
    done(await h1.virtualFunctions.enable([{ pf: 'eth0', count: 3 }]));
    await hand(h1, 0, 'a', prefix, { mac: MAC(1) });
    expect(await reaches(h2, '', '192.168.77.101')).toBe(true);
    done(await h1.routing.remove([{ kind: 'address', namespace: 'a', link: 'vf0', prefix }]));
    await hand(h1, 1, 'b', prefix, { mac: MAC(2) });
    expect(await reaches(h2, '', '192.168.77.101')).toBe(false);
    done(await h1.routing.announce([announcement]));
    expect(await reaches(h2, '', '192.168.77.101')).toBe(true);
    done(await h1.routing.remove([{ kind: 'address', namespace: 'b', link: 'vf0', prefix }]));
    await hand(h1, 2, 'c', prefix, { mac: MAC(3) });
    expect(await reaches(h2, '', '192.168.77.101')).toBe(false);
    await h2.clock.sleep(30_000);
    expect(await reaches(h2, '', '192.168.77.101')).toBe(true);
    expect(codeOf(await h1.routing.announce([{ ...announcement, link: 'nosuch' }]))).toBe('ENODEV');
    await set(h1, 'vf0', { up: false }, 'b');
    expect(codeOf(await h1.routing.announce([announcement]))).toBe('ENETDOWN');
  });
});

test('whoever asks is known by its new MAC to all who knew its address, also behind a bridge', async () => {
  const simulation = withCards(1);
  const host = simulation.host('h1');
  await bridge(host, 'br0');
  for (const [index, name] of ['client', 'old', 'new', 'other'].entries())
    await container(host, name, `10.0.0.${index + 1}/24`, { bridge: 'br0' });
  expect(await reaches(host, 'client', '10.0.0.2')).toBe(true);
  done(await host.routing.remove([{ kind: 'address', namespace: 'old', link: 'eth0', prefix: '10.0.0.2/24' }]));
  done(await host.routing.remove([{ kind: 'address', namespace: 'new', link: 'eth0', prefix: '10.0.0.3/24' }]));
  await add(host, { kind: 'address', namespace: 'new', link: 'eth0', prefix: '10.0.0.2/24' });
  expect(await reaches(host, 'client', '10.0.0.2')).toBe(false);
  // Where no words are wanted, a question goes only where somebody may answer.
  const ends = ['new', 'other'].map((namespace, index) => ({
    host: 'h1',
    namespace,
    address: `10.0.0.${2 + 2 * index}`,
  }));
  expect([...simulation.reachability(ends)]).toEqual([0, 1, 0, 1]);
  expect(await reaches(host, 'client', '10.0.0.2')).toBe(true);
});
