import { describe, expect, test } from 'vitest';
import { checkEgress } from '../../../src/egress/check.ts';
import type { EgressDesired, EgressRequest } from '../../../src/egress/desired.ts';
import type { ShapedContainer } from '../../../src/egress/picture.ts';

const MBIT = 1e6;
const container = (egress: EgressRequest, over: Partial<ShapedContainer> = {}): ShapedContainer => ({
  name: 'web',
  egress,
  ports: [{ family: 'bridge', port: 'plp-web', address: '10.0.0.5' }],
  within: [],
  functions: [],
  ...over,
});
const check = (one: ShapedContainer, desired: EgressDesired = {}, uplink: string | null = 'eth0'): string[] =>
  checkEgress([one], uplink, desired, []);
const WHOLE = { uplinkBitsPerSec: 100 * MBIT };
const WITHIN = { ports: [], within: [{ namespace: 'web', name: 'eth0' }] };

describe('what cannot be kept is refused', () => {
  test.for<[string, ShapedContainer, EgressDesired, RegExp]>([
    [
      'a guarantee above its ceiling',
      container({ guaranteeBitsPerSec: 9 * MBIT, ceilingBitsPerSec: 8 * MBIT }),
      WHOLE,
      /^web: its guarantee of 9 Mbit\/s is above its ceiling of 8 Mbit\/s/,
    ],
    [
      'a rate above the uplink’s',
      container({ ceilingBitsPerSec: 101 * MBIT }),
      WHOLE,
      /101 Mbit\/s is above what the uplink carries, 100 Mbit\/s/,
    ],
    [
      'a guarantee of nobody knows what',
      container({ guaranteeBitsPerSec: MBIT }),
      {},
      /a share of the uplink, whose rate nobody told/,
    ],
    [
      'guarantees that add up to more',
      container({ guaranteeBitsPerSec: 60 * MBIT }),
      WHOLE,
      /^uplink eth0: guarantees add up to 120 Mbit\/s, and it carries 100 Mbit\/s/,
    ],
    ['a rate of nothing', container({ ceilingBitsPerSec: 0 }), {}, /its ceiling of 0 bit\/s/],
    ['half a bit', container({ ceilingBitsPerSec: 1e6 + 0.5 }), {}, /not a whole number/],
    ['nothing asked', container({}), {}, /egress asks for nothing/],
    [
      'everywhere without a ceiling',
      container({ guaranteeBitsPerSec: MBIT, everywhere: true }),
      WHOLE,
      /everywhere is for a ceiling/,
    ],
    [
      'no network of its own',
      container({ ceilingBitsPerSec: MBIT }, { ports: [] }),
      {},
      /it has no network of its own/,
    ],
    [
      'a guarantee past the host’s shaping',
      container({ guaranteeBitsPerSec: MBIT }, WITHIN),
      WHOLE,
      /its interface cannot guarantee/,
    ],
    [
      'a VF that cannot',
      container(
        { ceilingBitsPerSec: MBIT },
        {
          ports: [],
          functions: [{ name: 'eth1 vf 0', card: 'eth1', refusal: 'igb cannot guarantee it', wireBitsPerSec: null }],
        },
      ),
      {},
      /its eth1 vf 0 cannot keep that: igb cannot guarantee it/,
    ],
    [
      'more than a VF’s wire',
      container(
        { ceilingBitsPerSec: 2000 * MBIT },
        { ports: [], functions: [{ name: 'eth1 vf 0', card: 'eth1', refusal: null, wireBitsPerSec: 1000 * MBIT }] },
      ),
      {},
      /above what the wire of its eth1 vf 0 carries/,
    ],
  ])('%s', ([, one, desired, message]) => {
    const all = /add up/.test(message.source) ? [one, { ...one, name: 'other' }] : [one];
    expect(() => checkEgress(all, 'eth0', desired, [])).toThrow(message);
  });

  test('an uplink that is not there', () => {
    expect(() => check(container({ ceilingBitsPerSec: MBIT }), {}, null)).toThrow(
      /no uplink whose egress could be shaped/,
    );
  });

  test('a qdisc of somebody else on the uplink, which is left alone; on another link it is no matter', () => {
    const foreign = { namespace: '', name: 'eth0', type: 'tbf', handle: '1:' };
    const one = container({ ceilingBitsPerSec: MBIT });
    expect(() => checkEgress([one], 'eth0', {}, [foreign])).toThrow(
      /a qdisc of somebody else, tbf 1:, which is left alone/,
    );
    expect(checkEgress([one], 'eth0', {}, [{ ...foreign, name: 'eth7' }])).toEqual([]);
    expect(checkEgress([container({ ceilingBitsPerSec: MBIT }, WITHIN)], 'eth0', {}, [foreign])).toEqual([]);
  });

  test('too many guarantees are only told where that is asked for', () => {
    const two = ['a', 'b'].map((name) => ({ ...container({ guaranteeBitsPerSec: 60 * MBIT }), name }));
    expect(checkEgress(two, 'eth0', { ...WHOLE, overcommit: 'warn' }, [])).toEqual([
      'uplink eth0: guarantees add up to 120 Mbit/s, and it carries 100 Mbit/s: lower some',
    ]);
  });
});
