import { expect, test } from 'vitest';
import { GIB } from '../../../src/host/units.ts';
import { compareText, type Ground, type Outcome } from '../../../src/report/comparison.ts';

const ground: Ground = {
  title: 'a load',
  spanMs: 7_200_000,
  hardLimitBytes: 10 * GIB,
  killAtBytes: 10.5 * GIB,
  machines: 1,
  overCommit: 1.3,
};
const kill = (container: string, atMs: number) => ({
  atMs,
  container,
  overBytes: GIB,
  reason: `reason of ${container}`,
});
const outcome = (policy: string, kills: Outcome['kills']): Outcome => ({
  policy,
  about: `about ${policy}`,
  kills,
  containers: 40,
  killsBySupervisor: kills.length,
  killsByKernel: 0,
  killsWithinRequest: 0,
  peakTotalBytes: 10.6 * GIB,
  timeOverHardLimitMs: 90_000,
  totalBytes: Array.from({ length: 40 }, () => 9 * GIB),
});
const shown = (...outcomes: Outcome[]): string[] => compareText(ground, outcomes, (text) => text);

test('each kill is told with its time and reason, and marked below the plot', () => {
  const lines = shown(outcome('gaia', [kill('leaky', 3_661_000)]));
  expect(lines).toContain('  01:01:01  leaky  reason of leaky');
  const plot = lines.find((line) => line.trim() === '✕')!;
  const axis = lines.find((line) => line.includes('└'))!;
  expect(plot.indexOf('✕') - axis.indexOf('└') - 1).toBe(20);
});

test('both outcomes stand side by side', () => {
  const lines = shown(outcome('gaia', []), outcome('hard-limit', [kill('a', 0), kill('b', 7_200_000)]));
  expect(lines.find((line) => line.startsWith('containers killed'))).toMatch(/0 +2$/);
  expect(lines.find((line) => line.startsWith('chance of being killed'))).toMatch(/0\.0 % +5\.0 %$/);
  expect(lines.find((line) => line.startsWith('time over the hard limit'))).toMatch(/1 m 30 s +1 m 30 s$/);
  expect(lines).toContain('nobody was killed');
});

test('a long list is cut, and says so', () => {
  const lines = shown(
    outcome(
      'hard-limit',
      Array.from({ length: 25 }, (_, index) => kill(`c${index}`, index)),
    ),
  );
  expect(lines).toContain('  … and 15 more');
  expect(lines).toContain('25 killed (✕)');
});
