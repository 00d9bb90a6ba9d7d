import { describe, expect, test } from 'vitest';
import { type Hop, type HopCounts, HOPS } from '../../../../backends/sim/packet-costs.ts';
import { type FitCase, fitCosts } from '../../../../bench/nic/fit.ts';
import { createRandom } from '../../../../src/host/random.ts';

const TRUE_NS: Partial<Record<Hop, number>> = { send: 800, veth: 100, route: 250, bridge: 200, match: 15, qdisc: 220 };
const NS_PER_BYTE = 0.2;

const hopsOf = (some: Partial<Record<Hop, number>>): HopCounts =>
  Object.fromEntries(HOPS.map((hop) => [hop, some[hop] ?? 0])) as Record<Hop, number>;

const PATHS: Readonly<Record<string, HopCounts>> = {
  direct: hopsOf({ send: 1, veth: 1 }),
  twice: hopsOf({ send: 1, veth: 2 }),
  routed: hopsOf({ send: 1, veth: 2, route: 1 }),
  bridged: hopsOf({ send: 1, veth: 2, bridge: 1 }),
  both: hopsOf({ send: 1, veth: 2, bridge: 1, route: 1 }),
  rules: hopsOf({ send: 1, veth: 2, route: 1, match: 30 }),
  more: hopsOf({ send: 1, veth: 2, route: 1, match: 60 }),
  shaped: hopsOf({ send: 1, veth: 1, qdisc: 1 }),
  all: hopsOf({ send: 1, veth: 2, bridge: 1, route: 1, qdisc: 1 }),
  shapedTwice: hopsOf({ send: 1, veth: 2, qdisc: 1 }),
  shapedBridged: hopsOf({ send: 1, veth: 2, bridge: 1, qdisc: 1 }),
  shapedRouted: hopsOf({ send: 1, veth: 2, route: 1, qdisc: 1 }),
  ruled: hopsOf({ send: 1, veth: 2, bridge: 1, route: 1, match: 45 }),
};

/** As if measured, each figure off by at most this share. */
function cases(noise: number, sizes = [1, 64, 256], ratios = [1, 4]): FitCase[] {
  const random = createRandom(7);
  return Object.entries(PATHS).flatMap(([path, hops]) =>
    ratios.flatMap((containers) =>
      sizes.map((payloadBytes): FitCase => {
        const ns = HOPS.reduce((sum, hop) => sum + hops[hop] * (TRUE_NS[hop] ?? 0), (payloadBytes + 28) * NS_PER_BYTE);
        const off = 1 + noise * (random.integer(-100, 100) / 100);
        return { path, payloadBytes, containers, hops, us: (ns / 1000) * off };
      }),
    ),
  );
}

test('what was put in is found, and predicts what was held out', () => {
  const { costs, cases: judged, errorMax } = fitCosts(cases(0), 1, 'a test');
  for (const [hop, ns] of Object.entries(TRUE_NS)) expect(costs.nsPerHop[hop as Hop]).toBeCloseTo(ns, 0);
  expect(costs.nsPerByte).toBeCloseTo(NS_PER_BYTE, 2);
  expect(errorMax).toBeLessThan(0.001);
  expect(judged.some(({ held }) => held)).toBe(true);
  expect(judged.some(({ held }) => !held)).toBe(true);
});

test('what no path meets stays unknown, and is no nothing', () => {
  const { costs } = fitCosts(cases(0), 1, 'a test');
  expect(costs.nsPerHop.vf).toBeNull();
  expect(costs.nsPerHop.tunnel).toBeNull();
});

describe('what is held out', () => {
  const seeds = Array.from({ length: 40 }, (_, index) => index + 1);

  test('is a quarter of the paths at most, one size, one ratio, and depends on the seed alone', () => {
    const drawn = new Set<string>();
    for (const seed of seeds) {
      const { cases: judged } = fitCosts(cases(0.01), seed, 'a test');
      expect(fitCosts(cases(0.01), seed, 'a test').cases).toEqual(judged);
      const fitted = judged.filter(({ held }) => !held);
      const paths = new Set(judged.map(({ path }) => path));
      const whole = [...paths].filter((path) => !fitted.some((each) => each.path === path));
      expect(whole.length).toBeLessThanOrEqual(Math.round(paths.size / 4));
      expect(new Set(fitted.map(({ payloadBytes }) => payloadBytes)).size).toBe(2);
      expect(new Set(fitted.map(({ containers }) => containers)).size).toBe(1);
      for (const path of whole) drawn.add(path);
    }
    // Each path that others tell of is held out by some seed.
    expect(drawn.size).toBeGreaterThan(4);
  });

  test('is never a path with a part that no other has', () => {
    const lonely: FitCase[] = cases(0).concat(
      [1, 4].flatMap((containers) =>
        [1, 64, 256].map((payloadBytes) => ({
          path: 'lonely',
          payloadBytes,
          containers,
          hops: hopsOf({ send: 1, veth: 1, tunnel: 1 }),
          us: 2,
        })),
      ),
    );
    for (const seed of seeds) {
      const { cases: judged } = fitCosts(lonely, seed, 'a test');
      expect(judged.some(({ path, held }) => path === 'lonely' && !held)).toBe(true);
    }
  });

  test('has no say in what is fitted', () => {
    const given = cases(0.02);
    const { costs, cases: judged } = fitCosts(given, 1, 'a test');
    const changed = given.map((each, index) => (judged[index]!.held ? { ...each, us: each.us * 3 } : each));
    const again = fitCosts(changed, 1, 'a test');
    expect(again.costs).toEqual(costs);
    expect(again.errorMax).toBeGreaterThan(0.5);
  });

  test('is judged within what the measurements are off by, a few times over', () => {
    for (const seed of seeds) expect(fitCosts(cases(0.02), seed, 'a test').errorMax).toBeLessThan(0.1);
  });
});

test('a path that is not made of its parts is told by the error', () => {
  const wrong = cases(0).map((each) => (each.path === 'both' ? { ...each, us: each.us * 1.5 } : each));
  expect(fitCosts(wrong, 1, 'a test').errorMax).toBeGreaterThan(0.1);
});

test('where there is only one path there is nothing to judge by', () => {
  const one = cases(0, [64], [1]).filter(({ path }) => path === 'direct');
  expect(() => fitCosts(one, 1, 'a test')).toThrow('no path could be held out');
});
