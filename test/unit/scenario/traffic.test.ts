import { describe, expect, test } from 'vitest';
import type { Observation } from '../../../src/engine/observation.ts';
import type { Milliseconds } from '../../../src/host/units.ts';
import type { ReachPair } from '../../../src/scenario/reach.ts';
import { type ClassMeant, judgeTraffic, type PacketsClaim, type RateClaim } from '../../../src/scenario/traffic.ts';

const pair: ReachPair = {
  from: { text: 'a', host: 'h1', namespace: 'a' },
  to: { text: 'h2', kind: 'address', address: '192.168.77.12' },
  by: 'h2/',
};
const momentMs = 1000 as Milliseconds;

const counted = (counts: Record<string, number>): Observation => ({
  kind: 'classes',
  atMs: 1100,
  momentMs,
  from: 'a',
  to: 'h2',
  sent: 5,
  counted: counts,
  why: '',
});
const asClass = (as: ClassMeant, counts: Record<string, number>) =>
  judgeTraffic({ kind: 'classified', pair, as, momentMs }, [counted(counts)]);

describe('classified packets', () => {
  test('are counted in the class that is meant, and in no other container’s', () => {
    expect(asClass({ container: 'a' }, { default: 1, a: 5, b: 0 })).toEqual({
      held: true,
      detail: 'a → h2: 5 packets; counted 1 as default, 5 as a, 0 as b',
    });
    expect(asClass({ container: 'a' }, { default: 5, a: 0 }).held).toBe(false);
    expect(asClass({ container: 'a' }, { default: 0, a: 5, b: 1 }).held).toBe(false);
    expect(asClass({ container: 'a' }, {}).held).toBe(false);
  });

  test('are everybody’s where no container counts them, and nobody’s where no class does', () => {
    expect(asClass('default', { default: 6, a: 0 }).held).toBe(true);
    expect(asClass('default', { default: 4, a: 0 }).held).toBe(false);
    expect(asClass('none', {}).held).toBe(true);
    expect(asClass('none', { default: 1 }).held).toBe(true);
    expect(asClass('none', { default: 5 }).held).toBe(false);
    expect(asClass('none', { a: 5 }).held).toBe(false);
  });

  test('that the sender marks are others', () => {
    const claim = { kind: 'classified', pair, as: 'default', markedAs: 'b', momentMs } as const;
    expect(judgeTraffic(claim, [counted({ default: 5 })]).detail).toBe('a → h2: nothing was sent');
    expect(judgeTraffic(claim, [{ ...counted({ default: 5 }), markedAs: 'b' } as Observation]).held).toBe(true);
  });

  test('that could not be sent are nowhere', () => {
    const why = { ...counted({}), why: 'a is in no network' } as Observation;
    expect(judgeTraffic({ kind: 'classified', pair, as: 'none', momentMs }, [why])).toEqual({
      held: false,
      detail: 'a → h2: nothing was sent: a is in no network',
    });
  });
});

test('a rate is within its bounds', () => {
  const claim: RateClaim = { kind: 'rate', pair, protocol: 'udp', momentMs, forMs: 2000 as Milliseconds };
  const seen = (bitsPerSec: number): Observation[] => [
    { kind: 'rate', atMs: 4000, momentMs, from: 'a', to: 'h2', protocol: 'udp', forMs: 2000, bitsPerSec, why: '' },
  ];
  expect(judgeTraffic({ ...claim, atLeast: 9e6, atMost: 10e6 }, seen(9.5e6))).toEqual({
    held: true,
    detail: 'a → h2: 9.50 Mbit/s over 2 s',
  });
  expect(judgeTraffic({ ...claim, atLeast: 9e6 }, seen(8.9e6)).held).toBe(false);
  expect(judgeTraffic({ ...claim, atMost: 9e6 }, seen(9.1e6)).held).toBe(false);
  expect(judgeTraffic({ ...claim, protocol: 'tcp' }, seen(9e6)).held).toBe(false);
});

test('packets are as many as is claimed, of the size that is claimed', () => {
  const claim: PacketsClaim = { kind: 'packets', pair, payloadBytes: 64, momentMs, forMs: 2000 as Milliseconds };
  const seen = (packetsPerSec: number | null, why = ''): Observation[] => [
    { kind: 'packets', atMs: 4000, momentMs, from: 'a', to: 'h2', payloadBytes: 64, forMs: 2000, packetsPerSec, why },
  ];
  expect(judgeTraffic({ ...claim, atLeast: 1e5, atMost: 2e5 }, seen(123_456.7))).toEqual({
    held: true,
    detail: 'a → h2: 123457 packets/s of 64 bytes over 2 s',
  });
  expect(judgeTraffic({ ...claim, atLeast: 1e5 }, seen(99_999)).held).toBe(false);
  expect(judgeTraffic({ ...claim, atMost: 1e5 }, seen(100_001)).held).toBe(false);
  expect(judgeTraffic({ ...claim, payloadBytes: 65, atLeast: 1 }, seen(2))).toEqual({
    held: false,
    detail: 'a → h2: nothing was sent',
  });
  expect(judgeTraffic({ ...claim, atMost: 1 }, seen(null, 'a is in no network'))).toEqual({
    held: false,
    detail: 'a → h2: nothing was sent: a is in no network',
  });
});
