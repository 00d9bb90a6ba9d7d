import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { statKeys } from '../../../../backends/linux/cgroup-controller.ts';
import { KernelFile, readCount, readPids } from '../../../../backends/linux/kernel-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function fileOf(text: string): string {
  const path = join(folder, 'file');
  writeFileSync(path, text);
  return path;
}

function table(text: string, names: readonly string[]): number[] {
  const file = new KernelFile(fileOf(text));
  const values = new Float64Array(names.length).fill(-1);
  file.readTable(statKeys(names), values);
  file.close();
  return [...values];
}

test('a table gives the lines asked for, whatever their order, and 0 for a line that is not there', () => {
  const text = 'cache 1\nrss 2\ntotal_rss 30\ntotal_cache 40\ntotal_rss_huge 50\ntotal_inactive_file 60\n';
  expect(table(text, ['total_inactive_file', 'total_rss', 'total_cache', 'total_shmem'])).toEqual([60, 30, 40, 0]);
});

test('a key is a whole word: neither its beginning nor its end alone', () => {
  expect(table('anon_thp 1\nanon 2\nfile_anon 3\n', ['anon'])).toEqual([2]);
  expect(table('anon_thp 1\n', ['anon'])).toEqual([0]);
});

test('a table without an end, an empty one, and one of rubbish', () => {
  expect(table('anon 12', ['anon'])).toEqual([12]);
  expect(table('', ['anon'])).toEqual([0]);
  expect(table('\n\nanon\n \nfile 3\n', ['anon', 'file'])).toEqual([0, 3]);
});

test('any table reads back as it was written', () => {
  const value = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  const keys = fc.uniqueArray(fc.stringMatching(/^[a-z_]{1,12}$/), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(keys, fc.array(value, { minLength: 20, maxLength: 20 }), (names, values) => {
      const text = names.map((name, index) => `${name} ${values[index]}\n`).join('');
      expect(table(text, names.toReversed())).toEqual(names.map((_, index) => values[index]).toReversed());
    }),
  );
});

test('a number is read afresh each time, and a shorter one does not keep the tail of a longer', () => {
  const path = fileOf('1234567\n');
  const file = new KernelFile(path);
  expect(file.readNumber()).toBe(1234567);
  writeFileSync(path, '89\n');
  expect(file.readNumber()).toBe(89);
  writeFileSync(path, '5');
  expect(file.readNumber()).toBe(5);
  file.close();
});

test('counts and processes', () => {
  expect(readCount(fileOf('42\n'))).toBe(42);
  expect(() => readCount(fileOf('max\n'))).toThrow(/holds "max", not a number/);
  expect(readPids(fileOf('12\n0\n7\n'))).toEqual([12, 7]);
  expect(readPids(fileOf(''))).toEqual([]);
});
