import { describe, expect, test } from 'vitest';
import type { FunctionsObservation, Observation } from '../../../src/engine/observation.ts';
import type { VirtualFunction } from '../../../src/host/virtual-functions.ts';
import type { Milliseconds } from '../../../src/host/units.ts';
import { type CardClaim, judgeCards } from '../../../src/scenario/cards.ts';

const MAC = '02:00:00:00:00:01';

const vf = (index: number, changes: Partial<VirtualFunction> = {}): VirtualFunction => ({
  pf: 'ens1',
  index,
  pciAddress: `0000:01:10.${index}`,
  driver: null,
  link: null,
  linkMac: null,
  mac: '00:00:00:00:00:00',
  vlan: 0,
  qos: 0,
  proto: '802.1Q',
  spoofCheck: true,
  trust: false,
  linkState: 'auto',
  minRateBitsPerSec: 0,
  maxRateBitsPerSec: 0,
  ...changes,
});

const look = (virtual: readonly VirtualFunction[], changes: Partial<FunctionsObservation> = {}): Observation => ({
  kind: 'functions',
  atMs: 0,
  physical: [],
  virtual,
  held: [],
  ...changes,
});

const bound = { driver: 'igbvf', link: { namespace: 'a', name: 'eth0' }, linkMac: MAC, mac: MAC, vlan: 100 };
const lease: Observation = {
  kind: 'address',
  atMs: 0,
  container: 'a',
  network: 'fast',
  address: '10.9.0.1',
  mac: MAC,
  taken: true,
};
const momentMs = 1000 as Milliseconds;
const ofContainer = { container: 'a', network: 'fast', link: 'eth0' } as const;

function claimed(
  changes: Partial<Extract<CardClaim, { kind: 'vf' }>>,
  of: VirtualFunction,
): { held: boolean; detail: string } {
  const claim: CardClaim = { kind: 'vf', host: 'h1', of: ofContainer, knobs: {}, momentMs, ...changes };
  return judgeCards(claim, [lease, look([vf(0), of], { momentMs })]);
}

describe('a VF', () => {
  test('of a container is the one that is its interface, with the MAC of its lease', () => {
    expect(claimed({ mac: 'lease', knobs: { vlan: 100 } }, vf(1, bound))).toEqual({
      held: true,
      detail: `ens1 vf 1: eth0 in a, MAC ${MAC}, VLAN 100`,
    });
    expect(claimed({}, vf(1, { ...bound, link: { namespace: 'b', name: 'eth0' } }))).toEqual({
      held: false,
      detail: 'a has no VF as eth0',
    });
  });

  test.each([
    ['a knob that is another', { knobs: { vlan: 7 } }, {}, 'its vlan is 100, not 7'],
    [
      'a MAC that its PF did not give',
      { mac: 'lease' },
      { mac: '00:00:00:00:00:00' },
      'its PF gives it 00:00:00:00:00:00',
    ],
    [
      'a MAC that its link has not taken',
      { mac: 'lease' },
      { linkMac: '02:00:00:00:00:09' },
      'its link has 02:00:00:00:00:09',
    ],
  ] as const)('is told apart by %s', (_, claim, state, detail) => {
    const judged = claimed(claim, vf(1, { ...bound, ...state }));
    expect(judged.held).toBe(false);
    expect(judged.detail).toContain(detail);
  });

  test('of a card is found by its number, wherever it is', () => {
    const of = { pf: 'ens1', index: 1 };
    const hidden = vf(1, { ...bound, link: null, linkMac: null });
    expect(claimed({ of, place: 'nowhere' }, hidden).held).toBe(true);
    expect(claimed({ of, place: 'unbound' }, hidden)).toEqual({
      held: false,
      detail: 'ens1 vf 1: it is in no namespace that anybody sees',
    });
    expect(claimed({ of, place: 'unbound' }, vf(1)).held).toBe(true);
    expect(claimed({ of, place: { namespace: 'a' } }, vf(1, bound)).held).toBe(true);
    expect(claimed({ of, place: { namespace: '' } }, vf(1, bound)).held).toBe(false);
  });

  test('that nobody looked at is not as claimed', () => {
    const claim: CardClaim = { kind: 'vf', host: 'h1', of: ofContainer, knobs: {}, momentMs };
    expect(judgeCards(claim, [look([vf(1, bound)])])).toEqual({ held: false, detail: 'nobody looked' });
    expect(judgeCards(claim, [{ ...look([vf(1, bound)], { momentMs }), host: 'h2' }])).toMatchObject({ held: false });
  });
});

describe('VFs as before', () => {
  const claim: CardClaim = { kind: 'vfsAsBefore', host: 'h1', momentMs };
  const judged = (after: readonly VirtualFunction[], held: readonly string[] = []) =>
    judgeCards(claim, [look([vf(0), vf(1)]), look(after, { momentMs, held })]);

  test('are those of the beginning, but for the MAC that a link chose by itself', () => {
    expect(judged([vf(0), vf(1)]).held).toBe(true);
    expect(
      judgeCards(claim, [
        look([vf(0, { linkMac: MAC })]),
        look([vf(0, { linkMac: '02:00:00:00:00:02' })], { momentMs }),
      ]),
    ).toMatchObject({ held: true });
  });

  test('miss what was changed, what is gone, what is new, and what is still written down', () => {
    expect(judged([vf(0), vf(1, { trust: true })]).detail).toBe('ens1 vf 1: trust was false, is true');
    const link = (name: string) => ({ driver: 'igbvf', link: { namespace: '', name } });
    const renamed = [look([vf(0, link('eth0'))]), look([vf(0, link('eth1'))], { momentMs })];
    expect(judgeCards(claim, renamed).held).toBe(false);
    expect(judged([vf(0)]).detail).toBe('ens1 vf 1 is gone');
    expect(judged([vf(0), vf(1), vf(2)]).detail).toBe('ens1 vf 2 was not there');
    expect(judged([vf(0), vf(1)], ['ens1 vf 0'])).toEqual({ held: false, detail: 'ens1 vf 0 is still written down' });
  });

  test('are of one card alone where that is said', () => {
    const other = vf(0, { pf: 'ens2', vlan: 7 });
    const looks = [look([vf(0)]), look([vf(0), other], { momentMs })];
    expect(judgeCards(claim, looks).held).toBe(false);
    expect(judgeCards({ ...claim, pf: 'ens1' }, looks).held).toBe(true);
  });
});

describe('distinct VFs', () => {
  const claim: CardClaim = { kind: 'distinctVfs', host: 'h1' };

  test('have no MAC twice, at any look, whether the PF or the link has it', () => {
    expect(judgeCards(claim, [look([vf(0), vf(1)]), look([vf(0, bound), vf(1)])])).toMatchObject({ held: true });
    const twice = [vf(0, { mac: MAC }), vf(1, { linkMac: MAC })];
    expect(judgeCards(claim, [look([vf(0)]), look(twice, { atMs: 1500 }), look([vf(0)])])).toEqual({
      held: false,
      detail: `at 1.50 s ${MAC} is of ens1 vf 0 and ens1 vf 1`,
    });
    expect(judgeCards({ ...claim, pf: 'ens2' }, [look(twice)])).toMatchObject({ held: true });
  });
});

test('a qdisc of somebody else is there by its handle', () => {
  const claim: CardClaim = { kind: 'foreignQdisc', host: 'h1', link: 'eth0', handle: '1:', momentMs };
  const seen = (handle: string): Observation => ({
    kind: 'qdiscs',
    atMs: 0,
    momentMs,
    foreign: [{ namespace: '', name: 'eth0', type: 'htb', handle }],
  });
  expect(judgeCards(claim, [seen('1:')])).toEqual({ held: true, detail: 'eth0 htb 1:' });
  expect(judgeCards(claim, [seen('2:')]).held).toBe(false);
  expect(judgeCards(claim, []).held).toBe(false);
});
