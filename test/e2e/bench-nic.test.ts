import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import * as z from 'zod';

const isRoot = process.geteuid?.() === 0;
const scratch = mkdtempSync(join(tmpdir(), 'bench-nic-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const plimsoll = (...words: string[]) => {
  const child = execa(process.execPath, ['src/plimsoll.js', ...words], { reject: false });
  // One that a test gave up on would go on for ever.
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
};
const bench = (...words: string[]) => plimsoll('bench', ...words);

const Expectations = z.object({ expectations: z.array(z.object({ detail: z.string() })) });

const Document = z.object({
  bench: z.literal('nic'),
  partial: z.string().optional(),
  environment: z.looseObject({ functions: z.string() }),
  results: z.array(z.object({ id: z.string(), value: z.number().positive(), runs: z.number() })),
});
const read = (folder: string) => Document.parse(JSON.parse(readFileSync(join(folder, 'nic.json'), 'utf8')));

/** What carries the mark of a bench's process. */
const leftBy = (pid: number | undefined): string[] =>
  existsSync('/run/netns') ? readdirSync('/run/netns').filter((name) => name.startsWith(`plimsoll-run-${pid}-`)) : [];

/** @returns how many there were */
function killSenders(parent: number | undefined): number {
  const listed = spawnSync('ps', ['-o', 'pid=,args=', '--ppid', String(parent)], { encoding: 'utf8' });
  const senders = listed.stdout.split('\n').filter((line) => line.includes('processes/packets'));
  for (const line of senders) spawnSync('kill', ['-9', line.trim().split(' ')[0]!]);
  return senders.length;
}

async function until(child: ReturnType<typeof bench>, line: string): Promise<void> {
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  await expect.poll(() => said, { timeout: 100_000 }).toContain(line);
}

describe('what it is not', () => {
  test.each([
    { words: ['nic', '--sizes', '64,1500'], says: '--sizes 64,1500: write whole numbers of 1 to 1472' },
    { words: ['nic', '--ratios', '1,1'], says: '--ratios 1,1: write whole numbers of 1 to 64, each once' },
    { words: ['nic', '--calibrate'], says: '--calibrate: name the folder to write to' },
    {
      words: ['nic', '--quick', '--calibrate', '--out', scratch],
      says: '--calibrate: what a byte costs needs two sizes',
    },
    { words: ['nic', '--listen', '10.0.0.1:99'], says: '--listen: it is where a --sink waits' },
    { words: ['nic', '--out', '/dev/null/x'], says: '--out /dev/null/x: it is no folder' },
    { words: ['nic', '--peer', '10.0.0.2'], says: '--peer: name the card whose wire leads there' },
    { words: ['nic', '--pf', 'ens1'], says: '--pf ens1: name the other end of its wire' },
    { words: ['nic', '--sink'], says: '--sink: name the card on which packets come' },
    { words: ['replay', '--quick'], says: '--quick: it is an option of "bench nic", not of "bench replay"' },
  ])('$words is refused in a line', async ({ words, says }) => {
    const { exitCode, stdout, stderr } = await bench(...words);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(says);
    expect(stderr).not.toContain('    at ');
  });
});

test('a calibration is what packets cost in the simulator', async () => {
  const scenario = 'scenarios/network/packet-rate.yaml';
  const shipped = JSON.parse(readFileSync('backends/sim/calibrations/shipped.json', 'utf8')) as {
    nsPerHop: Record<string, number | null>;
  };
  const slow = Object.fromEntries(Object.entries(shipped.nsPerHop).map(([hop, ns]) => [hop, ns && ns * 10]));
  const file = join(scratch, 'calibration.json');
  writeFileSync(file, JSON.stringify({ ...shipped, nsPerHop: slow }));
  const run = async (...words: string[]) => {
    const { stdout, stderr, exitCode } = await plimsoll('run', scenario, '--json', ...words);
    return { exitCode, stderr, expectations: stdout === '' ? [] : Expectations.parse(JSON.parse(stdout)).expectations };
  };
  const [asShipped, slower] = [await run(), await run('--calibration', file)];
  const perSec = (told: typeof slower): number => Number(/(\d+) packets\/s/.exec(told.expectations[0]!.detail)![1]);
  expect(perSec(asShipped) / perSec(slower)).toBeCloseTo(10, 0);
  // The last of its claims is of so many packets.
  expect([asShipped.exitCode, slower.exitCode]).toEqual([0, 1]);
  expect(slower.stderr).toContain(`--calibration ${file}`);
  writeFileSync(file, '{}');
  expect(await run('--calibration', file)).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining(`--calibration ${file}: it cannot be read as what`) as string,
  });
});

describe.runIf(isRoot)('on real paths (skipped unless root, because namespaces are made)', () => {
  test('the quick form measures every path, says that there is no VF, draws the figure, and leaves nothing', async () => {
    const child = bench('nic', '--quick', '--runs', '1', '--out', join(scratch, 'quick'));
    const { exitCode, stdout, stderr } = await child;
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
    expect(stdout.split('\n')[0]).toBe('no VF here: what stands in for it is "direct (no VF)", which is not SR-IOV');
    for (const title of ['direct (no VF)', 'macvlan', 'NAT (Plimsoll)', 'NAT (Docker)', 'overlay (VXLAN)'])
      expect(stdout).toContain(title);
    const { results, partial } = read(join(scratch, 'quick'));
    const ids = results.map(({ id }) => id);
    expect(partial).toBeUndefined();
    expect(ids).toEqual(expect.arrayContaining(['nic.nat_over_direct_cpu', 'nic.prediction_error_max']));
    for (const path of ['direct', 'macvlan', 'nat', 'docker_nat', 'overlay'])
      for (const shape of ['1x64', '4x64'])
        expect(ids).toEqual(expect.arrayContaining([`nic.${path}_cpu_us_${shape}`, `nic.${path}_pps_${shape}`]));
    expect(ids.filter((id) => id.includes('sriov'))).toEqual([]);
    expect(readdirSync(join(scratch, 'quick')).sort()).toEqual(['nic.json', 'nic.png', 'nic.svg']);
    expect(leftBy(child.pid)).toEqual([]);
  });

  test('a sink without its card, and a generator that is not here, are refused in a line', async () => {
    const sink = await bench('nic', '--sink', '--pf', 'nosuch');
    expect(sink).toMatchObject({ exitCode: 3, stdout: '' });
    expect(sink.stderr).toMatch(/^plimsoll: links\.set nosuch: .*ENODEV/m);
    const child = bench('nic', '--sizes', '1', '--ratios', '1', '--generator', 'pktgen');
    const generator = await child;
    expect(generator).toMatchObject({ exitCode: 3, stdout: '' });
    expect(generator.stderr).toMatch(
      /^plimsoll: bench nic --generator pktgen: direct: it sends 16 bytes at least, not 1/m,
    );
    expect(leftBy(child.pid)).toEqual([]);
  });

  test('Ctrl-C in the middle keeps what there is, says that it is not whole, and leaves nothing', async () => {
    const child = bench('nic', '--sizes', '64', '--ratios', '1', '--runs', '1000', '--out', join(scratch, 'cut'));
    await until(child, 'round 3 of');
    child.kill('SIGINT');
    const { exitCode } = await child;
    expect(exitCode).toBe(130);
    const { results, partial } = read(join(scratch, 'cut'));
    expect(partial).toBe('the bench was interrupted');
    expect(results.find(({ id }) => id === 'nic.direct_cpu_us_1x64')?.runs).toBeGreaterThanOrEqual(2);
    expect(leftBy(child.pid)).toEqual([]);
  });

  test('a sender that is killed ends it: told, kept as far as it came, and nothing left', async () => {
    const child = bench('nic', '--quick', '--runs', '1', '--out', join(scratch, 'killed'));
    await until(child, 'packets a second, round 1 of');
    let hasEnded = false;
    void child.then(() => (hasEnded = true));
    // Between two floods a dead one is replaced: whoever comes is killed, too.
    await expect.poll(() => killSenders(child.pid) > 0 || hasEnded, { timeout: 60_000 }).toBe(true);
    await expect.poll(() => killSenders(child.pid) >= 0 && hasEnded, { timeout: 60_000 }).toBe(true);
    const { stderr, exitCode } = await child;
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/plimsoll: bench nic: what .* has ended: .*; what was measured before is kept/);
    const { results, partial } = read(join(scratch, 'killed'));
    expect(partial).toContain('has ended');
    expect(results.map(({ id }) => id)).toContain('nic.nat_over_direct_cpu');
    expect(leftBy(child.pid)).toEqual([]);
  });

  test('a link that goes down ends it: told, kept as far as it came, and nothing left', async () => {
    const child = bench('nic', '--sizes', '64', '--ratios', '1', '--runs', '1000', '--out', join(scratch, 'down'));
    await until(child, 'round 3 of');
    const own = leftBy(child.pid).find((name) => name.endsWith('-nic-macvlan'))!;
    execFileSync('ip', ['-n', own, 'link', 'set', 'dev', 'up0', 'down']);
    const { exitCode, stderr } = await child;
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/plimsoll: bench nic: (?:macvlan: |nothing that c\d sends)/);
    expect(read(join(scratch, 'down')).results.map(({ id }) => id)).toContain('nic.nat_over_direct_cpu');
    expect(leftBy(child.pid)).toEqual([]);
  });
});
