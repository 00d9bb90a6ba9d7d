import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, describe, expect, test } from 'vitest';
import type { RunDocument } from '../../src/commands/output.ts';

const FOLDER = 'scenarios/memory';
const filesOf = (folder: string): string[] => readdirSync(folder).map((name) => join(folder, name));
/** Their cards are simulated here; real ones are in the guest of test/guest. */
const WITH_CARDS = filesOf('scenarios/sriov');
const FILES = [FOLDER, 'scenarios/network', 'scenarios/egress'].flatMap(filesOf);
const isRoot = process.geteuid?.() === 0;
const scratch = mkdtempSync(join(tmpdir(), 'scenarios-'));

afterAll(() => rmSync(scratch, { recursive: true }));

const plimsoll = (...words: string[]) => execa(process.execPath, ['src/plimsoll.js', ...words], { reject: false });

async function run(file: string, ...words: string[]): Promise<RunDocument & { exitCode: number | undefined }> {
  const { exitCode, stdout, stderr } = await plimsoll('run', file, '--json', ...words);
  if (stdout === '') throw new Error(stderr);
  return { exitCode, ...(JSON.parse(stdout) as RunDocument) };
}

const orderOf = ({ kills }: RunDocument) => kills.map(({ container }) => container);

const heldOf = ({ expectations }: RunDocument) => expectations.map(({ text, held }) => ({ text, held }));

describe.each([...FILES, ...WITH_CARDS])('%s, simulated', (file) => {
  test('holds on the simulated host, twice with the same recording', async () => {
    const record = join(scratch, 'recording');
    let [first, second] = [await run(file, '--record', record), await run(file)];
    // A commit made between the two is no difference of theirs.
    while (first.commit !== second.commit) [first, second] = [await run(file, '--record', record), await run(file)];
    expect(first).toMatchObject({ exitCode: 0, held: true, backend: 'sim', summary: { brokenInvariants: [] } });
    expect(first.expectations.every(({ held }) => held)).toBe(true);
    expect(second).toEqual(first);
    expect(createHash('sha256').update(readFileSync(record)).digest('hex')).toBe(first.digest);
  });
});

describe.each(FILES)('%s', (file) => {
  test.runIf(isRoot)(
    'holds on this machine, with the same verdicts, and the same kills in the same order',
    async () => {
      const [simulated, real] = [await run(file), await run(file, '--backend', 'linux')];
      expect(real.expectations.filter(({ held }) => !held)).toEqual([]);
      expect(real).toMatchObject({ exitCode: 0, held: true, backend: 'linux' });
      expect(orderOf(real)).toEqual(orderOf(simulated));
      // How many packets pass is another machine's figure: some of it is claimed of one backend alone.
      const common = (one: typeof real, other: typeof real) =>
        heldOf(one).filter(({ text }) => other.expectations.some((each) => each.text === text));
      expect(common(real, simulated)).toEqual(common(simulated, real));
    },
  );
});

describe('plimsoll run', () => {
  const file = join(FOLDER, 'leak.yaml');

  test('tells people what happened and why', async () => {
    const { stdout, exitCode } = await plimsoll('run', file);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/leak +killed: total \d+ MiB is past killAt/);
    expect(stdout).toMatch(/^✓ The leak is killed, and nobody else$/m);
    expect(stdout).toMatch(/^digest [0-9a-f]{64}$/m);
  });

  test('runs another policy, and then leaves out what is claimed of gaia alone', async () => {
    const document = await run(file, '--policy', 'hard-limit');
    expect(document).toMatchObject({ policy: 'hard-limit', held: true, expectations: [] });
    expect(orderOf(document).toSorted()).toEqual(['cron', 'leak']);
  });

  test('says how to run a failed scenario again', async () => {
    const text = readFileSync(file, 'utf8').replace('killed: [leak]', 'killed: [cron]');
    const changed = join(scratch, 'changed.yaml');
    writeFileSync(changed, text);
    const { stdout, exitCode } = await plimsoll('run', changed, '--seed', '7');
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^✗ The leak is killed, and nobody else$/m);
    expect(stdout).toContain(`again: plimsoll run ${changed} --seed 7 --backend sim`);
  });

  test.each([...FILES, ...WITH_CARDS])('prints its plan as a script that a shell can read: %s', async (each) => {
    const { stdout, exitCode } = await plimsoll('run', each, '--dry-run');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^#!\/bin\/sh\n/);
    expect(stdout).toContain('memory');
    await execa('sh', ['-n'], { input: stdout });
  });

  test('tells who has which address, and who reaches whom', async () => {
    const { stdout } = await plimsoll('run', 'scenarios/network/nat.yaml');
    expect(stdout).toMatch(/h1: server +has 10\.1\.0\.10 in network web/);
    expect(stdout).toMatch(/^ {2}from \\ to .* h1:5353\/udp/m);
    expect(stdout).toMatch(/^ {2}neighbour +server +✓ +✓ +·$/m);
  });

  test('a network that fails is told by who answered in place of whom', async () => {
    const text = readFileSync('scenarios/network/figure-5.yaml', 'utf8');
    const changed = join(scratch, 'wrong.yaml');
    writeFileSync(changed, text.replace('from: c1, to: 10.0.0.2, answeredBy: c2', 'from: c1, to: c4'));
    const { stdout, exitCode } = await plimsoll('run', changed);
    expect(exitCode).toBe(1);
    expect(stdout).toContain('c1 → c4 (10.0.0.2): c2 answered in place of c4');
  });

  test.runIf(isRoot).each(['SIGINT', 'SIGTERM'] as const)('leaves nothing behind after %s', async (signal) => {
    const child = execa(
      process.execPath,
      ['src/plimsoll.js', 'run', file, '--backend', 'linux', '--record', join(scratch, 'cut')],
      { reject: false },
    );
    const mark = `plimsoll-run-${child.pid}-`;
    const folders = [
      '/run/plimsoll',
      '/dev/shm',
      tmpdir(),
      '/sys/fs/cgroup',
      '/sys/fs/cgroup/memory',
      '/sys/fs/cgroup/freezer',
    ];
    const left = () =>
      folders.flatMap((each) => (existsSync(each) ? readdirSync(each).filter((name) => name.startsWith(mark)) : []));
    const processes = () =>
      readdirSync('/proc').filter((pid) => {
        try {
          return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(mark);
        } catch {
          return false;
        }
      });
    await expect.poll(() => processes().length, { timeout: 30_000 }).toBeGreaterThanOrEqual(4);
    child.kill(signal);
    expect((await child).exitCode).toBe(130);
    expect(left()).toEqual([]);
    expect(processes()).toEqual([]);
  });

  test.runIf(isRoot)('is swept by the next after kill -9, and found by the doctor until then', async () => {
    const child = execa(process.execPath, ['src/plimsoll.js', 'run', file, '--backend', 'linux'], { reject: false });
    const mark = `plimsoll-run-${child.pid}-`;
    await expect
      .poll(() => existsSync('/run/plimsoll') && readdirSync('/run/plimsoll').some((name) => name.startsWith(mark)), {
        timeout: 30_000,
      })
      .toBe(true);
    child.kill('SIGKILL');
    await child;
    const found = await plimsoll('doctor', '--json');
    expect(found.exitCode).toBe(1);
    const { ok, findings } = JSON.parse(found.stdout) as {
      ok: boolean;
      findings: { severity: string; about: string; remedy: string }[];
    };
    expect(ok).toBe(false);
    expect(findings.find(({ about }) => about.startsWith(mark))).toMatchObject({
      severity: 'error',
      remedy: expect.stringContaining('--mend') as string,
    });
    const mended = await plimsoll('doctor', '--mend', '--json');
    expect(JSON.parse(mended.stdout)).toMatchObject({ ok: true });
    expect(mended.stdout).toContain(mark);
    expect((await plimsoll('doctor', '--json')).stdout).not.toContain(mark);
  });
});
