import { describe, expect, test } from 'vitest';
import type { LinkState } from '../../../src/host/links.ts';
import type { Step } from '../../../src/host/steps.ts';
import type { FoundFunctions, PhysicalFunction, VirtualFunction } from '../../../src/host/virtual-functions.ts';
import type { VfDemand } from '../../../src/network/desired.ts';
import { checkFunctions } from '../../../src/network/functions-check.ts';
import {
  doneFunctions,
  type HeldFunctions,
  lostFunctions,
  heldWith,
  NOTHING_HELD,
  takeFunctions,
  type VfNeed,
} from '../../../src/network/functions.ts';
import { planFunctions } from '../../../src/network/functions-plan.ts';
import type { NetworkObserved } from '../../../src/network/observe.ts';
import type { Endpoint } from '../../../src/network/picture.ts';
import { functionsOf, NO_MAC } from '../../../src/network/sriov.ts';
import { sriov } from './specs.ts';

const pf: PhysicalFunction = {
  pf: 'ens1',
  pciAddress: '0000:01:00.0',
  driver: 'igb',
  vendor: '0x8086',
  totalVfs: 7,
  vfCount: 2,
  autoprobe: true,
  carrier: true,
  speedBitsPerSec: 1e9,
};
const vf = (index: number, over: Partial<VirtualFunction> = {}): VirtualFunction => ({
  pf: 'ens1',
  index,
  pciAddress: `0000:01:10.${index}`,
  mac: NO_MAC,
  vlan: 0,
  qos: 0,
  proto: '802.1Q',
  spoofCheck: true,
  trust: false,
  linkState: 'auto',
  minRateBitsPerSec: 0,
  maxRateBitsPerSec: 0,
  driver: 'igbvf',
  link: { namespace: '', name: `ens1v${index}` },
  linkMac: `52:00:00:00:00:0${index}`,
  ...over,
});
const link = (name: string, over: Partial<LinkState> = {}): LinkState => ({
  namespace: '',
  name,
  type: 'other',
  up: false,
  carrier: true,
  mtu: 1500,
  mac: '52:00:00:00:00:01',
  alias: '',
  master: null,
  learning: true,
  hairpin: false,
  forwarding: false,
  ipv6: true,
  qdisc: 'noqueue',
  device: '0000:01:10.0',
  ...over,
});
const observed = (
  virtual: readonly VirtualFunction[],
  over: Partial<NetworkObserved> = {},
  physical: readonly PhysicalFunction[] = [{ ...pf, vfCount: virtual.length }],
): NetworkObserved => ({
  namespaces: [],
  links: [link('ens1', { type: 'other' }), ...virtual.flatMap((each) => (each.link ? [link(each.link.name)] : []))],
  entries: [],
  firewall: { frame: null, elements: [] },
  functions: { physical, virtual },
  ...over,
});
const demand: VfDemand = { select: { pf: 'ens1' }, knobs: { vlan: 100 } };
const need = (container: string, over: Partial<VfDemand> = {}): VfNeed => ({
  container,
  network: 'fast',
  demand: { ...demand, ...over },
});
const endpoint = (container: string): Endpoint => ({
  container,
  namespace: container,
  network: 'fast',
  link: 'eth0',
  address: '10.9.0.1',
  mac: '02:00:00:00:00:aa',
  publish: [],
  secondary: false,
});
const specs = new Map([['fast', sriov('fast', '10.9.0.0/24', demand)]]);

const steps = (
  endpoints: readonly Endpoint[],
  held: HeldFunctions,
  found: FoundFunctions,
  over: Partial<NetworkObserved> = {},
): string[] => {
  const state = { ...observed(found.virtual), functions: found, ...over };
  const plan = planFunctions(functionsOf(endpoints, specs, held, state), found, new Set());
  return [plan.unbind, plan.enable, plan.set, plan.bind, plan.move].flat().map(text);
};
const text = (step: Step): string => `${step.verb.split('.')[1]} ${JSON.stringify(step.with)}`;

describe('a free VF', () => {
  const take = (needs: readonly VfNeed[], state: NetworkObserved): (string | number)[][] =>
    takeFunctions(needs, NOTHING_HELD, state).vfs.map(({ container, pf: of, index }) => [container, of, index]);

  test('goes to each, the lowest first, and none to two', () => {
    expect(take([need('a'), need('b')], observed([vf(0), vf(1)]))).toEqual([
      ['a', 'ens1', 0],
      ['b', 'ens1', 1],
    ]);
    expect(() => take([need('a'), need('b'), need('c')], observed([vf(0), vf(1)]))).toThrow(
      /^c: network fast has no free VF: all 2 of ens1 are in use/,
    );
  });

  test('is none that is not back yet, that somebody uses where it is, or that is in another namespace', () => {
    const hidden = vf(0, { link: null });
    const elsewhere = vf(1, { link: { namespace: 'x', name: 'eth0' } });
    expect(take([need('a')], observed([hidden, elsewhere, vf(2)]))).toEqual([['a', 'ens1', 2]]);
    const addressed = observed([vf(0), vf(1)], {
      entries: [{ kind: 'address', namespace: '', link: 'ens1v0', prefix: '10.0.0.1/24' }],
    });
    expect(take([need('a')], addressed)).toEqual([['a', 'ens1', 1]]);
    const bridged = observed([vf(0), vf(1)]);
    const links = bridged.links.map((each) => (each.name === 'ens1v0' ? { ...each, master: 'br0' } : each));
    expect(take([need('a')], { ...bridged, links })).toEqual([['a', 'ens1', 1]]);
    const carrying = [...bridged.links, link('mv0', { lower: 'ens1v0', device: '' })];
    expect(take([need('a')], { ...bridged, links: carrying })).toEqual([['a', 'ens1', 1]]);
  });

  test('is one of those that its PF is to be given, and their original state is written down when they are seen', () => {
    const bare = observed([]);
    const taking = takeFunctions([need('a', { count: 4 }), need('b', { count: 4 })], NOTHING_HELD, bare);
    expect(taking).toEqual({
      vfs: [
        { pf: 'ens1', index: 0, container: 'a', network: 'fast' },
        { pf: 'ens1', index: 1, container: 'b', network: 'fast' },
      ],
      pfs: [{ pf: 'ens1', count: 4, before: 0, autoprobe: true, takeDownLink: false }],
    });
    expect(steps([endpoint('a')], taking, bare.functions)).toEqual(['enable {"pf":"ens1","count":4,"autoprobe":true}']);
    const unbound = [0, 1, 2, 3].map((index) => vf(index, { driver: null, link: null, linkMac: null }));
    const seen = takeFunctions([need('a')], taking, observed(unbound));
    expect(seen.vfs).toMatchObject([{ container: 'a', original: { link: null } }, { container: 'b' }]);
  });
});

describe('a VF in a container’s hand', () => {
  const state = observed([vf(0), vf(1)]);
  const held = heldWith(NOTHING_HELD, takeFunctions([need('a')], NOTHING_HELD, state));
  const set = { mac: '02:00:00:00:00:aa', vlan: 100 };
  const inside = { link: { namespace: 'a', name: 'eth0' }, linkMac: set.mac };

  test('is set through its PF while it has no driver, and comes back with its MAC', () => {
    expect(steps([endpoint('a')], held, state.functions)).toEqual([
      'unbind {"pf":"ens1","index":0}',
      'set {"pf":"ens1","index":0,"set":{"mac":"02:00:00:00:00:aa","vlan":100}}',
      'bind {"pf":"ens1","index":0}',
    ]);
  });

  test('is moved under its name there, whatever it came back as', () => {
    const bound = observed([vf(0, { ...set, linkMac: set.mac, link: { namespace: '', name: 'eth7' } })]);
    expect(steps([endpoint('a')], held, bound.functions)).toEqual([
      'move {"namespace":"","name":"eth7","to":{"namespace":"a","name":"eth0"}}',
    ]);
  });

  test('needs nothing where all is as wanted; a knob that was turned by hand is turned back, bound as it is', () => {
    expect(steps([endpoint('a')], held, observed([vf(0, { ...set, ...inside })]).functions)).toEqual([]);
    expect(steps([endpoint('a')], held, observed([vf(0, { ...set, ...inside, vlan: 7 })]).functions)).toEqual([
      'set {"pf":"ens1","index":0,"set":{"vlan":100}}',
    ]);
  });

  test('is bound anew where its link kept another MAC', () => {
    const other = observed([vf(0, { ...set, ...inside, linkMac: '52:00:00:00:00:00' })]);
    expect(steps([endpoint('a')], held, other.functions)).toEqual([
      'unbind {"pf":"ens1","index":0}',
      'bind {"pf":"ens1","index":0}',
    ]);
  });

  test('is fetched from where nobody sees it', () => {
    const hidden = observed([vf(0, { ...set, link: null, linkMac: null })]);
    expect(steps([endpoint('a')], held, hidden.functions)).toEqual([
      'unbind {"pf":"ens1","index":0}',
      'bind {"pf":"ens1","index":0}',
    ]);
  });

  test('given back it is as it was: knobs first, then its link, then its name', () => {
    const before = observed([vf(0, { ...set, ...inside })]).functions;
    expect(steps([], held, before)).toEqual([
      'unbind {"pf":"ens1","index":0}',
      'set {"pf":"ens1","index":0,"set":{"mac":"00:00:00:00:00:00","vlan":0}}',
      'bind {"pf":"ens1","index":0}',
    ]);
    expect(steps([], held, observed([vf(0, { link: { namespace: '', name: 'eth3' } })]).functions)).toEqual([
      'move {"namespace":"","name":"eth3","to":{"namespace":"","name":"ens1v0"}}',
    ]);
    expect(steps([], held, state.functions)).toEqual([]);
  });

  test('one that had no driver is left without, and with the last its PF is as it was', () => {
    const bare = [
      vf(0, { driver: null, link: null, linkMac: null }),
      vf(1, { driver: null, link: null, linkMac: null }),
    ];
    const given: HeldFunctions = {
      vfs: takeFunctions([need('a')], NOTHING_HELD, observed(bare)).vfs,
      pfs: [{ pf: 'ens1', count: 2, before: 0, autoprobe: true, takeDownLink: false }],
    };
    const inUse = observed([vf(0, { ...set, ...inside }), bare[1]!]).functions;
    expect(steps([], given, inUse)).toEqual([
      'unbind {"pf":"ens1","index":0}',
      'set {"pf":"ens1","index":0,"set":{"mac":"00:00:00:00:00:00","vlan":0}}',
    ]);
    const takenAway = ['enable {"pf":"ens1","count":0,"autoprobe":true}'];
    expect(steps([], given, observed(bare).functions)).toEqual(takenAway);
    // After a crash it may be bare before it was reset: what goes is not set.
    const crashed = observed([{ ...bare[0]!, ...set, linkMac: null }, bare[1]!]).functions;
    expect(steps([], given, crashed)).toEqual(takenAway);
  });

  test('two that are to change places step aside first', () => {
    const both = [0, 1].map((index) => vf(index, { ...set, link: { namespace: 'a', name: `eth${1 - index}` } }));
    const swapped = heldWith(held, {
      vfs: [{ ...held.vfs[0]!, index: 1, network: 'slow' }],
      pfs: [],
    });
    const others = new Map([...specs, ['slow', sriov('slow', '10.8.0.0/24', demand)]]);
    const endpoints = [endpoint('a'), { ...endpoint('a'), network: 'slow', link: 'eth1' }];
    const state = observed(both.map((each) => ({ ...each, linkMac: set.mac })));
    const plan = planFunctions(functionsOf(endpoints, others, swapped, state), state.functions, new Set());
    expect(plan.unbind).toEqual([]);
    const names = plan.move.map((step) => (step.verb === 'links.move' ? step.with.to.name : ''));
    expect(names).toEqual([expect.stringMatching(/^plv-.{11}$/), expect.stringMatching(/^plv-.{11}$/)]);
    expect(new Set(names).size).toBe(2);
    expect([...plan.there]).toEqual([]);
  });

  test('given back it keeps the name it came with where another has its own by now', () => {
    const back = [vf(0, { link: { namespace: '', name: 'eth3' } })];
    const links = [link('ens1v0', { device: '0000:77:00.0' }), link('eth3')];
    expect(steps([], held, observed(back).functions, { links })).toEqual([]);
  });

  test('a PF that the host uses by now keeps its VFs; what stands on it counts', () => {
    const bare = [0, 1].map((index) => vf(index, { driver: null, link: null, linkMac: null }));
    const given: HeldFunctions = {
      vfs: takeFunctions([need('a')], NOTHING_HELD, observed(bare)).vfs,
      pfs: [{ pf: 'ens1', count: 2, before: 0, autoprobe: true, takeDownLink: false }],
    };
    const used: Partial<NetworkObserved> = {
      links: [link('ens1'), link('vlan5', { lower: 'ens1' })],
      entries: [{ kind: 'address', namespace: '', link: 'vlan5', prefix: '10.0.0.1/24' }],
    };
    expect(steps([], given, observed(bare).functions, used)).toEqual([]);
    const [one] = given.pfs;
    const mayBe = { ...given, pfs: [{ ...one!, takeDownLink: true }] };
    expect(steps([], mayBe, observed(bare).functions, used)).toEqual([
      'enable {"pf":"ens1","count":0,"autoprobe":true}',
    ]);
  });

  test('what is known of a VF is kept while its card is not to be seen, and forgotten when it is as it was', () => {
    expect(doneFunctions([], held, { physical: [], virtual: [] })).toEqual(NOTHING_HELD);
    expect(doneFunctions([], held, state.functions)).toEqual(held);
    expect(doneFunctions([need('a')], held, state.functions)).toEqual(NOTHING_HELD);
  });

  test('one that is not there any more is told, unless its PF is about to have it again', () => {
    const gone = observed([]).functions;
    expect(lostFunctions([need('a')], held, gone)).toEqual(held.vfs);
    expect(lostFunctions([], held, gone)).toEqual([]);
    const pfs = [{ pf: 'ens1', count: 2, before: 0, autoprobe: true, takeDownLink: false }];
    expect(lostFunctions([need('a')], { ...held, pfs }, gone)).toEqual([]);
  });

  test('of a network’s limit and its container’s the lower holds', () => {
    const limited = new Map([['fast', sriov('fast', '10.9.0.0/24', { ...demand, knobs: { maxRateBitsPerSec: 1e8 } })]]);
    const rates = (maxRateBitsPerSec: number): unknown =>
      functionsOf([{ ...endpoint('a'), vfRates: { maxRateBitsPerSec } }], limited, held, state).vfs[0]?.knobs
        .maxRateBitsPerSec;
    expect([rates(5e8), rates(5e7)]).toEqual([1e8, 5e7]);
  });

  test('a VF that nobody speaks for and that has its MAC is reset', () => {
    const twin = observed([vf(0, { ...set, ...inside }), vf(1, { mac: set.mac, vlan: 100 })]);
    expect(steps([endpoint('a')], held, twin.functions)).toEqual([
      'unbind {"pf":"ens1","index":1}',
      'set {"pf":"ens1","index":1,"set":{"mac":"00:00:00:00:00:00","vlan":0}}',
      'bind {"pf":"ens1","index":1}',
    ]);
  });
});

describe('what a card cannot do is refused before anything is done', () => {
  const check = (over: Partial<VfDemand>, state = observed([])): void =>
    checkFunctions([sriov('fast', '10.9.0.0/24', { ...demand, ...over })], state);
  const route = { kind: 'route', namespace: '', link: 'ens1', to: '0.0.0.0/0', via: '10.0.0.1' } as const;

  test.for<[string, Partial<VfDemand>, RegExp]>([
    ['a VLAN of 5000', { knobs: { vlan: 5000 } }, /ens1: vlan: a VLAN is from 0 to 4095/],
    ['more VFs than the card has', { count: 8 }, /ens1 can have 7 VFs, not 8/],
    ['a card that is not there', { select: { pf: 'ens9' } }, /there is no link ens9/],
    [
      'no card of that driver',
      { select: { driver: 'ice' } },
      /no network card of this host with virtual functions is as selected: there is ens1 \(igb\)/,
    ],
    ['a knob that the driver lacks', { knobs: { minRateBitsPerSec: 1e7 } }, /igb guarantees no rate/],
    [
      'a rate above the link’s',
      { knobs: { maxRateBitsPerSec: 2e9 } },
      /2000 Mbit\/s is above what ens1 carries, 1000 Mbit\/s/,
    ],
  ])('%s', ([, over, message]) => {
    expect(() => check(over)).toThrow(message);
  });

  test('a link without virtual functions', () => {
    const state = observed([], { links: [link('eth0'), link('ens1')] });
    expect(() => check({ select: { pf: 'eth0' } }, state)).toThrow(/eth0 has no virtual functions \(SR-IOV\)/);
  });

  test('a link that the host itself uses is not taken down, unless it may', () => {
    const used = observed([], { entries: [route] });
    expect(() => check({ count: 4 }, used)).toThrow(
      /drops the link of ens1 for seconds, and the default route goes by it/,
    );
    expect(() => check({ count: 4, takeDownLink: true }, used)).not.toThrow();
    const there = observed([vf(0), vf(1), vf(2), vf(3)], { entries: [route] });
    expect(() => check({ count: 4 }, there)).not.toThrow();
    expect(() => check({ count: 5 }, there)).toThrow(/it would have to lose these first/);
  });
});
