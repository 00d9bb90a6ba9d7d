import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findLayout, layoutAt } from '../../../../backends/linux/cgroup-layout.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const line = (point: string, type: string, options: string): string =>
  `35 31 0:32 / ${point.replaceAll(' ', String.raw`\040`)} rw,relatime shared:9 - ${type} cgroup rw,${options}\n`;

test('v1 where its hierarchies hold memory and freezer, also beside an empty v2', () => {
  const hybrid =
    line('/cg/memory', 'cgroup', 'memory') +
    line('/cg/freezer', 'cgroup', 'freezer') +
    line('/cg/unified', 'cgroup2', '');
  expect(findLayout(hybrid)).toEqual({ version: 1, memoryMount: '/cg/memory', freezerMount: '/cg/freezer' });
});

test('controllers that share a hierarchy, and a mount with a space in its path', () => {
  expect(findLayout(line('/my cg/all', 'cgroup', 'cpu,memory,freezer'))).toEqual({
    version: 1,
    memoryMount: '/my cg/all',
    freezerMount: '/my cg/all',
  });
});

test('v2 where it offers memory, and nothing where it does not', () => {
  writeFileSync(join(folder, 'cgroup.controllers'), 'cpu io memory pids\n');
  expect(findLayout(line(folder, 'cgroup2', 'nsdelegate'))).toEqual({ version: 2, mount: folder });
  writeFileSync(join(folder, 'cgroup.controllers'), 'cpu io hugetlb_memory\n');
  expect(findLayout(line(folder, 'cgroup2', 'nsdelegate'))).toBeNull();
  expect(findLayout(line('/', 'ext4', 'memory,freezer'))).toBeNull();
});

test('memory without freezer is not enough: a kill could not take all', () => {
  expect(findLayout(line('/cg/memory', 'cgroup', 'memory'))).toBeNull();
});

test('a tree by hand', () => {
  expect(layoutAt(folder)).toEqual({ version: 2, mount: folder });
  mkdirSync(join(folder, 'memory'));
  expect(layoutAt(folder)).toEqual({
    version: 1,
    memoryMount: join(folder, 'memory'),
    freezerMount: join(folder, 'freezer'),
  });
});
