import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  identityOf,
  isAlive,
  makeOwnFolder,
  mayLive,
  ownerOf,
  runMark,
  self,
} from '../../../../backends/linux/owner.ts';

test('a mark tells its owner', () => {
  const pidNamespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))![0];
  expect(ownerOf(runMark('two-words'))).toEqual({ ...self(), pidNamespace });
  expect(ownerOf('plimsoll-run-12-34-56-x')).toEqual({ pid: 12, startTicks: '34', pidNamespace: '56' });
});

test.for([
  'plimsoll',
  'plimsoll-2026-11-23.ndjson',
  'plimsoll-12-34-x',
  'plimsoll-run-2026-11-23.ndjson',
  'plimsoll-run-2026-11-23-',
  'plimsoll-run-0-1-2-x',
  'plimsoll-run-1-2-3-a b',
  'plimsoll-run-1-2-3-x/y',
  'plimsoll-run-1-2-3-x~',
  'xplimsoll-run-1-2-3-x',
  'docker',
])('%j is no mark', (name) => expect(ownerOf(name)).toBeNull());

test('a name that no sweep would know again is refused', () => {
  for (const name of ['', 'a b', '../a', '.a']) expect(() => runMark(name)).toThrow(/EINVAL/);
});

test('the owner of a run lives, is dead, or is of another pid namespace and may live', () => {
  const mine = ownerOf(runMark('mine'))!;
  expect(mayLive(mine)).toBe(true);
  expect(mayLive({ ...mine, startTicks: '1' })).toBe(false);
  expect(mayLive({ ...mine, startTicks: '1', pidNamespace: '1' })).toBe(true);
});

test('a process that cannot be looked at is not taken for dead', () => {
  const script = `
    import fs from 'node:fs';
    import { identityOf } from ${JSON.stringify(new URL('../../../../backends/linux/owner.ts', import.meta.url))};
    const held = [];
    try { for (;;) held.push(fs.openSync('/dev/null')); } catch {}
    try { identityOf(process.pid); } catch (error) { fs.writeSync(1, error.code); }
  `;
  const said = execFileSync(
    'sh',
    ['-c', 'ulimit -n 64; exec "$1" --input-type=module-typescript -e "$2"', 'sh', process.execPath, script],
    { encoding: 'utf8' },
  );
  expect(said).toBe('EMFILE');
});

test('a folder of our own is made, or taken over, and nothing else that has its name', () => {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
  try {
    const own = join(folder, 'own');
    makeOwnFolder(own);
    makeOwnFolder(own);
    expect(lstatSync(own).mode & 0o777).toBe(0o700);
    mkdirSync(join(folder, 'target'));
    symlinkSync('target', join(folder, 'link'));
    writeFileSync(join(folder, 'file'), '');
    for (const name of ['link', 'file']) expect(() => makeOwnFolder(join(folder, name))).toThrow(/EEXIST/);
  } finally {
    rmSync(folder, { recursive: true });
  }
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
