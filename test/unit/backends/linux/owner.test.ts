import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { identityOf, isAlive, ownerOf, runMark, self } from '../../../../backends/linux/owner.ts';

test('a mark tells its owner', () => {
  expect(ownerOf(runMark('two-words'))).toEqual(self());
  expect(ownerOf('plimsoll-12-34-x')).toEqual({ pid: 12, startTicks: '34' });
  for (const other of ['plimsoll', 'plimsoll-12-x', 'xplimsoll-1-2-3', 'docker', 'plimsoll-daemon-1-2'])
    expect(ownerOf(other)).toBeNull();
});

test('a number that passed to another process is not the owner', () => {
  expect(isAlive(self())).toBe(true);
  expect(isAlive({ pid: process.pid, startTicks: '1' })).toBe(false);
});

test('a command with spaces and parentheses in its name, alive and dead', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
  try {
    const odd = join(folder, 'a) S 1 (b');
    copyFileSync('/bin/sleep', odd);
    const child = spawn(odd, ['60']);
    await once(child, 'spawn');
    const identity = identityOf(child.pid!);
    expect(identity?.startTicks).toMatch(/^\d+$/);
    expect(Number(identity!.startTicks)).toBeGreaterThanOrEqual(Number(self().startTicks));
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(isAlive(identity!)).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
