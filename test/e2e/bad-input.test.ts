import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GOOD, NETWORKED } from '../unit/scenario/rules.ts';

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bad-input-'));
  // Others must be able to read it: one test runs as nobody.
  await chmod(folder, 0o755);
});

afterAll(() => rm(folder, { recursive: true }));

async function plimsoll(words: readonly string[], options: { uid?: number } = {}) {
  const { exitCode, stdout, stderr } = await execa(process.execPath, ['src/plimsoll.js', ...words], {
    reject: false,
    ...options,
  });
  return { exitCode, stdout, stderr };
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** One line on stderr, nothing on stdout, no stack. */
function isOneLine({ stdout, stderr }: { stdout: string; stderr: string }): void {
  expect(stdout).toBe('');
  expect(stderr.split('\n')).toHaveLength(1);
  expect(stderr).not.toMatch(/^\s+at |node:internal|Error:/);
}

describe('a bad scenario is told in one line with file and line, and exit code 2', () => {
  test.each([
    [
      'an unknown key',
      GOOD.replace('hardLimit', 'hardLimt'),
      /bad\.yaml:5: memory: unknown key "hardLimt": did you mean "hardLimit"\?$/,
    ],
    ['a wrong unit', GOOD.replace('40Mi', '40Mx'), /bad\.yaml:9: .*"40Mx" is not a size: write 512Mi/],
    ['a negative size', GOOD.replace('40Mi', '-40Mi'), /bad\.yaml:9: .*negative/],
    ['an absurd size', GOOD.replace('40Mi', '4Pi'), /bad\.yaml:9: .*more than any machine has/],
    ['a container named twice', GOOD.replace('late:', 'web:'), /bad\.yaml:11: "web" is there twice/],
    [
      'a timeline that refers to nothing',
      GOOD.replace('start: late', 'start: lat'),
      /bad\.yaml:15: there is no container "lat": did you mean "late"\?/,
    ],
    ['YAML that does not parse', GOOD.replace('timeline:', 'timeline: ['), /bad\.yaml:15: not readable as YAML/],
    ['an empty file', '', /bad\.yaml: the file is empty/],
    [
      'a network that there is not',
      NETWORKED.replace('networks: [blue, ', 'networks: [bleu, '),
      /bad\.yaml:16: there is no network "bleu": did you mean "blue"\?$/,
    ],
    [
      'an address outside its pool',
      NETWORKED.replace('10.0.0.9', '10.0.1.9'),
      /bad\.yaml:21: c2: address 10\.0\.1\.9 is outside the pool 10\.0\.0\.0\/24 of network blue$/,
    ],
    [
      'a claim about nobody',
      NETWORKED.replace('to: c1@web', 'to: c7'),
      /bad\.yaml:31: there is no container or host "c7": did you mean "c1"\?$/,
    ],
  ])('%s', async (_what, text, message) => {
    const path = await file('bad.yaml', text);
    const result = await plimsoll(['run', path]);
    expect(result.stderr).toMatch(message);
    expect(result.exitCode).toBe(2);
    isOneLine(result);
  });
});

describe('a bad trace is told in one line, and exit code 2', () => {
  test.each([
    ['with missing columns', 'a,b\n1,2\n', /bad\.csv/],
    ['that is empty', '', /bad\.csv/],
    ['of a truncated gzip', Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2), /bad\.csv/],
  ])('%s', async (_what, content, message) => {
    const result = await plimsoll(['replay', await file('bad.csv', content)]);
    expect(result.stderr).toMatch(message);
    expect(result.exitCode).toBe(2);
    isOneLine(result);
  });
});

describe('a bad policy is told in one line, and exit code 2', () => {
  test.each([
    ['that there is not', undefined, /there is no policy "gaja": did you mean "gaia"\?/],
    ['that throws as it is loaded', 'throw new Error("broken policy");', /policy\.ts.*broken policy/],
    [
      'that throws when it is asked',
      'export default { name: "mine", about: "", needs: [], limits() { throw new Error("no limits"); } };',
      /mine.*no limits/,
    ],
    ['that is none', 'export const nothing = 1;', /policy\.ts/],
  ])('%s', async (_what, text, message) => {
    const name = text === undefined ? 'gaja' : await file('policy.ts', text);
    const result = await plimsoll(['run', await file('good.yaml', GOOD), '--policy', name]);
    expect(result.stderr).toMatch(message);
    expect(result.exitCode).toBe(2);
    isOneLine(result);
  });

  test('one that throws when it decides kills nobody, and the trouble is recorded', async () => {
    const text = GOOD.replace('leak: { from: 1Mi, perSecond: 2Mi }', 'constant: 90Mi');
    const own =
      'export default { name: "mine", about: "", needs: [], limits: (r) => ({ parentBytes: null, childBytes: r.map(() => null) }), decide() { throw new Error("at a loss"); } };';
    const result = await plimsoll(['run', await file('good.yaml', text), '--policy', await file('policy.ts', own)]);
    expect(result.stdout).toContain('trouble: policy mine: decide throws: at a loss; nobody was killed');
  });
});

describe('misuse of the command line is told in one line, and exit code 2', () => {
  test.each([
    [[], /name a command; see plimsoll --help/],
    [['rnu', 'x.yaml'], /unknown command "rnu": did you mean "run"\?/],
    [['run'], /see plimsoll run --help/],
    [['run', 'no-such.yaml'], /no-such\.yaml: there is no such file/],
    [['run', 'scenarios'], /scenarios: it is a folder/],
    [['run', 'x.yaml', 'y.yaml'], /run does not take "y\.yaml"/],
    [['run', 'x.yaml', '--recrod', 'f'], /unknown option --recrod: did you mean --record\?/],
    [['run', 'x.yaml', '--backend', 'cloud'], /"cloud".*"sim", "linux"/],
    [['run', 'x.yaml', '--seed', 'seven'], /--seed seven: not a whole number/],
    [['run', 'x.yaml', '--policy'], /policy; see plimsoll run --help/],
    [['run', 'scenarios/memory/leak.yaml', '--record', '/no/such/folder/r'], /--record .*cannot be written/],
    [['replay', 'no-such-trace'], /no-such-trace: there is no such file/],
  ])('%j', async (words, message) => {
    const result = await plimsoll(words);
    expect(result.stderr).toMatch(message);
    expect(result.exitCode).toBe(2);
    isOneLine(result);
  });
});

describe('what the host lacks is named, and exit code 3', () => {
  test.runIf(process.geteuid?.() === 0)('root', async () => {
    const result = await plimsoll(['run', 'scenarios/memory/leak.yaml', '--backend', 'linux'], { uid: 65_534 });
    expect(result.stderr).toMatch(/takes root: run it with sudo, or with --backend sim/);
    expect(result.exitCode).toBe(3);
    isOneLine(result);
  });

  test.runIf(process.geteuid?.() === 0)('a memory controller', async () => {
    // In a mount namespace of its own, without any cgroup mount.
    const script = `umount -R /sys/fs/cgroup && exec ${process.execPath} src/plimsoll.js run scenarios/memory/leak.yaml --backend linux`;
    const { exitCode, stdout, stderr } = await execa('unshare', ['--mount', 'sh', '-c', script], { reject: false });
    expect(stderr).toMatch(/memory controller/);
    expect(exitCode).toBe(3);
    isOneLine({ stdout, stderr });
  });
});
