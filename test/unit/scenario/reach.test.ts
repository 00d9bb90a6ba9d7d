import { describe, expect, test } from 'vitest';
import type { ReachObservation } from '../../../src/engine/observation.ts';
import type { Milliseconds } from '../../../src/host/units.ts';
import { judgeReach, type ReachClaim } from '../../../src/scenario/reach.ts';

const sender = { text: 'c1', host: 'h1', namespace: 'c1' };
const c2 = { text: 'c2', kind: 'container', container: 'c2' } as const;
const h2 = { text: 'h2', kind: 'address', address: '192.168.77.12' } as const;

const claim = (kind: ReachClaim['kind'], more: Partial<ReachClaim> = {}): ReachClaim => ({
  kind,
  momentMs: 1000 as Milliseconds,
  pairs: [{ from: sender, to: c2, by: 'h2/c2' }],
  ...more,
});

const seen = (more: Partial<ReachObservation> = {}): ReachObservation => ({
  kind: 'reach',
  atMs: 1001,
  momentMs: 1000,
  from: 'c1',
  to: 'c2',
  address: '10.0.0.2',
  protocol: 'udp',
  answeredBy: null,
  arrivedAt: null,
  seenFrom: null,
  why: 'dropped on the way',
  ...more,
});

const answered = (by: string, more: Partial<ReachObservation> = {}): ReachObservation =>
  seen({ answeredBy: by, arrivedAt: by, seenFrom: '10.0.0.1', why: 'answered', ...more });

const forged = { forgedSource: '10.0.0.9' };

describe('who reaches whom', () => {
  test.each<[string, ReachClaim, ReachObservation[], boolean, string]>([
    ['reaches: answered by that one', claim('reaches'), [answered('h2/c2')], true, 'c1 → c2 (10.0.0.2): c2 answered'],
    [
      'reaches: another has that address there',
      claim('reaches'),
      [answered('h2/c4')],
      false,
      'c1 → c2 (10.0.0.2): c4 answered in place of c2',
    ],
    ['reaches: nobody', claim('reaches'), [seen()], false, 'c1 → c2 (10.0.0.2): dropped on the way'],
    [
      'reaches: only the way there',
      claim('reaches'),
      [seen({ arrivedAt: 'h2/c2' })],
      false,
      'c1 → c2 (10.0.0.2): c2 got it, but no answer came back',
    ],
    [
      'reaches: at another moment',
      claim('reaches'),
      [answered('h2/c2', { momentMs: 2000 })],
      false,
      'c1 → c2: nothing was sent',
    ],
    [
      'reaches: of another size',
      claim('reaches', { payload: 'full' }),
      [answered('h2/c2'), seen({ payloadBytes: 1422, full: true })],
      false,
      'c1 → c2 (10.0.0.2): dropped on the way',
    ],
    [
      'reaches: seen from the right address',
      claim('reaches', { seenFrom: '10.0.0.1' }),
      [answered('h2/c2')],
      true,
      'c1 → c2 (10.0.0.2): c2 answered and saw 10.0.0.1',
    ],
    [
      'reaches: seen from another',
      claim('reaches', { seenFrom: '192.168.77.11' }),
      [answered('h2/c2')],
      false,
      'c1 → c2 (10.0.0.2): c2 answered and saw 10.0.0.1',
    ],
    [
      'reaches with a forged source: it arrived',
      claim('reaches', forged),
      [seen({ ...forged, arrivedAt: 'h2/c2', seenFrom: '10.0.0.9' })],
      true,
      'c1 → c2 (10.0.0.2): c2 got it and saw 10.0.0.9',
    ],
    [
      'reaches with a forged source: the honest probe does not count',
      claim('reaches', forged),
      [answered('h2/c2'), seen(forged)],
      false,
      'c1 → c2 (10.0.0.2): dropped on the way',
    ],
    ['cannotReach: nobody', claim('cannotReach'), [seen()], true, 'c1 → c2 (10.0.0.2): dropped on the way'],
    ['cannotReach: answered', claim('cannotReach'), [answered('h2/c2')], false, 'c1 → c2 (10.0.0.2): c2 answered'],
    [
      'cannotReach: arriving is reaching',
      claim('cannotReach'),
      [seen({ arrivedAt: 'h2/c2' })],
      false,
      'c1 → c2 (10.0.0.2): c2 got it',
    ],
    [
      'cannotReach: another of the same address answered',
      claim('cannotReach'),
      [answered('h2/c4')],
      true,
      'c1 → c2 (10.0.0.2): c4 answered, which has that address there',
    ],
    [
      'cannotReach: whoever answers for a host',
      claim('cannotReach', { pairs: [{ from: sender, to: h2, by: null }] }),
      [answered('h1/', { to: 'h2', address: '192.168.77.12' })],
      false,
      'c1 → h2 (192.168.77.12): h1 answered',
    ],
    [
      'cannotReach: nothing was sent',
      claim('cannotReach'),
      [seen({ address: null, why: 'c1 is in no network' })],
      false,
      'c1 → c2: nothing was sent: c1 is in no network',
    ],
    ['cannotReach: nobody tried', claim('cannotReach'), [], false, 'c1 → c2: nothing was sent'],
  ])('%s', (_what, asked, observations, held, detail) => {
    expect(judgeReach(asked, observations)).toEqual({ held, detail });
  });

  test('of many the wrong ones are told, and how many', () => {
    const pairs = [
      { from: sender, to: c2, by: 'h2/c2' },
      { from: sender, to: h2, by: 'h2/' },
    ];
    const observations = [answered('h2/c2'), seen({ to: 'h2', address: '192.168.77.12', why: 'no route' })];
    expect(judgeReach(claim('reaches', { pairs }), observations)).toEqual({
      held: false,
      detail: '1 of 2 not: c1 → h2 (192.168.77.12): no route',
    });
  });
});
