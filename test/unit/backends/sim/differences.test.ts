import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { differences } from '../../../../backends/sim/differences.ts';

const readme = readFileSync(new URL('../../../../README.md', import.meta.url), 'utf8');

test('the README tells every known difference from the kernel, or that there is none', () => {
  const told =
    differences.length === 0
      ? ['each with a failing test: none']
      : differences.flatMap(({ id, reason }) => [id, reason]);
  expect(told.filter((text) => !readme.includes(text))).toEqual([]);
});

test('each has a test and names scenarios that are there', () => {
  expect(new Set(differences.map(({ id }) => id)).size).toBe(differences.length);
  for (const { test: where, worthless } of differences) {
    expect(existsSync(where.split(':')[0]!)).toBe(true);
    expect(worthless.filter((file) => !existsSync(file))).toEqual([]);
  }
});
