import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import yargs from 'yargs';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { fail } from '../../../src/commands/errors.ts';
import { replayCommand } from '../../../src/commands/replay.ts';
import { readTraceAt } from '../../../src/commands/traces.ts';
import { GIB, type Bytes } from '../../../src/host/units.ts';
import { policyByName } from '../../../src/memory/policies.ts';
import { place } from '../../../src/tuning/placement.ts';
import { replay } from '../../../src/tuning/replay.ts';

const folder = mkdtempSync(join(tmpdir(), 'plimsoll-replay-'));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

function given(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** Runs the command as the command line would, and takes what it prints. */
async function plimsoll(...words: string[]): Promise<{ out: string; errors: string; code: number }> {
  const printed = { out: '', errors: '' };
  const taker = (where: 'out' | 'errors') => (chunk: string | Uint8Array) => {
    printed[where] += String(chunk);
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(taker('out'));
  vi.spyOn(process.stderr, 'write').mockImplementation(taker('errors'));
  await yargs(['replay', ...words])
    .command(replayCommand)
    .strict()
    .exitProcess(false)
    .fail(false)
    .parseAsync()
    .catch(fail);
  const code = Number(process.exitCode ?? 0);
  vi.restoreAllMocks();
  return { ...printed, code };
}

const CSV = 't_s,a,b,c\n0,30,20,10\n100,30,70,60\n';

test('a folder of gzip is replayed; the digest is over kills and summary', async () => {
  given('night/x_mib.csv.gz', gzipSync(CSV));
  given('night/README.md', '# nothing to read\n');
  const { out, errors, code } = await plimsoll(
    join(folder, 'night'),
    '--hard-limit',
    '100MiB',
    '--request',
    'p50',
    '--json',
  );
  expect({ errors, code }).toEqual({ errors: '', code: 0 });
  const told = JSON.parse(out);
  expect(told).toMatchObject({
    title: 'night',
    backend: 'replay',
    policy: 'gaia',
    held: true,
    expectations: [],
    kills: [{ atMs: 45_100, container: 'b', by: 'supervisor' }],
    summary: { containers: 3, kills: 1, requests: 'p50' },
  });
  const lines = [...told.kills, told.summary].map((line: unknown) => `${JSON.stringify(line)}\n`).join('');
  expect(told.digest).toBe(createHash('sha256').update(lines).digest('hex'));
  expect(told.commit).toMatch(/^([0-9a-f]{40}(-dirty)?|plimsoll@.*)$/);
});

test('for people: who was killed, when and why', async () => {
  const { out } = await plimsoll(
    given('y_mib.csv', CSV),
    '--hard-limit',
    '100MiB',
    '--request',
    'p50',
    '--kill-at',
    '102%',
  );
  expect(out).toContain('y_mib: 3 containers on 1 machine');
  expect(out).toContain('1 kill: 1 by the supervisor, 0 by the kernel; 0 were within their request');
  expect(out).toMatch(/42\.1 s +b: total 102 MiB is past killAt 102 MiB/);
});

test("a user's own policy", async () => {
  const own = given(
    'mine.ts',
    "export default { name: 'mine', limits: (r) => ({ parentBytes: 1048576, childBytes: r.map(() => null) }) }",
  );
  const { out } = await plimsoll(given('z_mib.csv', CSV), '--policy', own, '--json');
  expect(JSON.parse(out)).toMatchObject({ policy: 'mine', summary: { kills: 3, killsByKernel: 3 } });
});

test('what the trace does not hold is told where a policy reads it', async () => {
  const trace = given('p_mib.csv', CSV);
  const { out, code } = await plimsoll(trace, '--policy', 'kubelet');
  expect(out).toContain('note: this trace has no priorities: all are taken as equal');
  expect(code).toBe(0);
  expect(JSON.parse((await plimsoll(trace, '--policy', 'kubelet', '--json')).out).summary.assumed).toEqual([
    'priority',
  ]);
  expect((await plimsoll(trace)).out).not.toContain('taken as');
});

const promising = () =>
  given(
    'promising.ts',
    "export default { name: 'promising', limits: (r) => ({ parentBytes: null, childBytes: r.map(() => null) }), async decide() { return []; } }",
  );

test.each([
  [[() => given('v_mib.csv', CSV), '--policy', promising], 'policy promising: decide gives a promise'],
  [['nowhere'], 'nowhere: there is no such file or folder'],
  [[() => given('empty.csv', '')], 'empty.csv: is empty'],
  [
    [() => given('cut_mib.csv.gz', gzipSync(CSV.repeat(50)).subarray(0, 40))],
    'cut_mib.csv.gz: the compressed file ends too early',
  ],
  [[() => given('v_mib.csv', CSV), '--policy', 'gaja'], 'there is no policy "gaja": did you mean "gaia"?'],
  [[() => given('v_mib.csv', CSV), '--hard-limit', '-3'], 'is not a size'],
  [[() => given('v_mib.csv', CSV), '--hard-limit', '10kilos'], '"10kilos" is not a size'],
  [[() => given('v_mib.csv', CSV), '--kill-at', 'much'], '--kill-at "much" is no share of the hard limit'],
  [[() => given('v_mib.csv', CSV), '--kill-at', '0.9', '--stop-at', '1'], 'stopAt 1 is above killAt 0.9'],
  [[() => given('v_mib.csv', CSV), '--request', 'recorded'], 'have no recorded request'],
  [[() => given('v_mib.csv', CSV), '--machines', '9'], 'too few for 9 machines'],
  [[() => given('v_mib.csv', CSV), '--look-every', '0.5ms'], 'give --look-every 1ms or more'],
])('bad input is one line and exit code 2 (%#)', async (words, message) => {
  const { out, errors, code } = await plimsoll(...words.map((word) => (typeof word === 'string' ? word : word())));
  expect(errors).toContain(message);
  expect(errors.trimEnd()).not.toContain('\n');
  expect({ out, code }).toEqual({ out: '', code: 2 });
});

const traces = process.env['PLIMSOLL_TRACES'];
if (traces === undefined)
  process.stdout.write('PLIMSOLL_TRACES is not set: tests on recorded traces are not collected\n');
else
  describe('on recorded traces', () => {
    test.each([
      ['nfcore-docker', undefined, undefined, 883_591],
      ['bitbrains-rnd', 20, 128 * GIB, 3_658_823 + 4_277_263],
      ['bitbrains-rnd', 20, 32 * GIB, 3_658_823 + 4_277_263],
    ])(
      '%s on %s machines: every sample is there, and gaia kills fewer than hard-limit wherever that kills',
      async (name, machines, hardLimitBytes, samples) => {
        const trace = await readTraceAt([join(traces, name)]);
        expect(trace.usageBytes).toHaveLength(samples);
        for (const request of ['p50', 'p90', 'p99'] as const) {
          const placement = place(trace, { request, machines, hardLimitBytes: hardLimitBytes as Bytes | undefined });
          const kills = (policy: string): number => replay(placement, policyByName(policy)!).summary.kills;
          expect(kills('gaia')).toBeLessThan(kills('hard-limit'));
        }
      },
    );
  });
