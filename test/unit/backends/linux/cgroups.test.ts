import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { linuxCgroups } from '../../../../backends/linux/cgroups.ts';
import { cgroupV1 } from '../../../../backends/linux/cgroup-v1.ts';
import { cgroupV2 } from '../../../../backends/linux/cgroup-v2.ts';

let mount: string;
beforeEach(() => {
  mount = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
});
afterEach(() => rmSync(mount, { recursive: true }));

const write = (path: string, text = ''): void => writeFileSync(join(mount, path), text);
const read = (path: string): string => readFileSync(join(mount, path), 'utf8');
const HEADING = 'Filename\tType\tSize\tUsed\tPriority\n';
const PARTITION = `${HEADING}/dev/sda2 partition 1048572 0 -2\n`;

test.for(['', '.', '..', 'a/../..', 'a/b', '/'])('%j is no root', (root) => {
  expect(() => linuxCgroups({ root, cgroupMount: mount })).toThrow(/EINVAL/);
});

test('a v2 kernel that is too old is refused, and the root that was made for the question is gone again', () => {
  write('cgroup.subtree_control', 'memory');
  expect(() => linuxCgroups({ root: 'run', cgroupMount: mount }).makeRoot()).toThrow(/cgroup.kill needs Linux 5.14/);
  expect(existsSync(join(mount, 'run'))).toBe(false);
});

test('v2 enables memory above a new cgroup, and no other controller', () => {
  write('cgroup.controllers', 'cpu memory pids');
  write('cgroup.subtree_control');
  cgroupV2({ version: 2, mount }).make('run');
  expect(read('cgroup.subtree_control')).toBe('+memory');
});

describe.each([
  ['on', PARTITION, '0'],
  ['off', HEADING, '60'],
])('with swap %s', (_, swaps, expected) => {
  test('v1 keeps a root from it where there is some', () => {
    mkdirSync(join(mount, 'run'));
    write('run/memory.swappiness', '60');
    write('run/memory.use_hierarchy', '0');
    write('swaps', swaps);
    cgroupV1({ version: 1, memoryMount: mount, freezerMount: mount }, join(mount, 'swaps')).prepareRoot('run');
    expect(read('run/memory.swappiness').startsWith(expected)).toBe(true);
    expect(read('run/memory.use_hierarchy')).toBe('1');
  });

  test('v2 keeps a root from it where there is some', () => {
    mkdirSync(join(mount, 'run'));
    for (const file of ['cgroup.kill', 'memory.peak']) write(`run/${file}`);
    write('run/memory.swap.max', '60');
    write('swaps', swaps);
    cgroupV2({ version: 2, mount }, join(mount, 'swaps')).prepareRoot('run');
    expect(read('run/memory.swap.max').startsWith(expected)).toBe(true);
  });
});
