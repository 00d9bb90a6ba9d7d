import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, describe, expect, test } from 'vitest';
import type { RunDocument } from '../../src/commands/output.ts';

const FILE = 'scenarios/memory/leak.yaml';
const isRoot = process.geteuid?.() === 0;
const scratch = mkdtempSync(join(tmpdir(), 'run-linux-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const plimsoll = (...words: string[]) => execa(process.execPath, ['src/plimsoll.js', ...words], { reject: false });
const onLinux = (...words: string[]) => plimsoll('run', FILE, '--backend', 'linux', ...words);

const PLACES = [
  '/run/plimsoll',
  '/run/netns',
  '/dev/shm',
  tmpdir(),
  '/sys/fs/cgroup',
  '/sys/fs/cgroup/memory',
  '/sys/fs/cgroup/freezer',
];

/** Folders and processes that carry the mark of the run of this process. */
function tracesOf(pid: number | undefined): string[] {
  const mark = `plimsoll-run-${pid}-`;
  const folders = PLACES.flatMap((place) =>
    existsSync(place) ? readdirSync(place).filter((name) => name.startsWith(mark)) : [],
  );
  const lines = execFileSync('ps', ['-eo', 'args='], { encoding: 'utf8' }).split('\n');
  return [...folders, ...lines.filter((line) => line.includes(mark)), ...inCgroupsOf(mark)];
}

const inCgroupsOf = (mark: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(mark);
    } catch {
      return false;
    }
  });

async function isUnderWay(pid: number | undefined): Promise<void> {
  await expect.poll(() => inCgroupsOf(`plimsoll-run-${pid}-`).length, { timeout: 60_000 }).toBeGreaterThanOrEqual(4);
}

describe.runIf(isRoot)('on real cgroups (skipped unless root, because cgroups are made)', () => {
  test('a recording on a full device is told, no verdict is printed, and nothing is left', async () => {
    const child = onLinux('--record', '/dev/full', '--json');
    const { exitCode, stdout, stderr } = await child;
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain('--record /dev/full: it cannot be written: ENOSPC');
    expect(tracesOf(child.pid)).toEqual([]);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('nothing is left after %s, and again', async (signal) => {
    const child = onLinux();
    await isUnderWay(child.pid);
    child.kill(signal);
    // Until it says that it heard: the clearing up outlasts that by the death of four processes.
    const again = setInterval(() => child.kill(signal), 5);
    child.stderr.on('data', (told: Buffer) => {
      if (String(told).includes('clearing up')) clearInterval(again);
    });
    const { exitCode, stderr } = await child;
    clearInterval(again);
    expect(exitCode).toBe(130);
    expect(stderr).toContain('clearing up');
    expect(tracesOf(child.pid)).toEqual([]);
  });

  test('nothing is left of a run after kill -9 and the next start', async () => {
    const child = onLinux();
    await isUnderWay(child.pid);
    child.kill('SIGKILL');
    await child;
    expect(tracesOf(child.pid)).not.toEqual([]);
    const next = onLinux();
    await isUnderWay(next.pid);
    expect(tracesOf(child.pid)).toEqual([]);
    next.kill('SIGINT');
    expect((await next).exitCode).toBe(130);
    expect(tracesOf(next.pid)).toEqual([]);
  });

  test("a user's own policy of a name, limits and decide kills, whatever it prints", async () => {
    const mine = join(scratch, 'mine.ts');
    writeFileSync(
      mine,
      `export default {
         name: 'mine',
         limits: (requests: number[]) => ({ parentBytes: null, childBytes: requests.map(() => null) }),
         decide(snapshot: { killable: Uint8Array; killedInLook: number }) {
           console.log('looking');
           const index = snapshot.killable.indexOf(1);
           return index < 0 || snapshot.killedInLook > 0 ? [] : [{ index, reason: 'mine says so' }];
         },
       };`,
    );
    const child = onLinux('--policy', mine, '--json');
    const { stdout, stderr } = await child;
    expect(stdout === '' ? stderr : '').toBe('');
    const { policy, kills } = JSON.parse(stdout) as RunDocument;
    expect(policy).toBe('mine');
    expect(kills.map(({ reason }) => reason)).toContain('mine says so');
    expect(tracesOf(child.pid)).toEqual([]);
  });
});

test('the doctor makes nothing on the machine', async () => {
  const found = (): string[] =>
    PLACES.flatMap((place) => (existsSync(place) ? readdirSync(place) : [])).filter((name) =>
      name.startsWith('plimsoll-'),
    );
  const before = found();
  await plimsoll('doctor');
  expect(found().filter((name) => !before.includes(name))).toEqual([]);
});
