import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import yargs from 'yargs';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import type { RunDocument } from '../../../src/commands/output.ts';
import { replayCommand } from '../../../src/commands/replay.ts';
import { runCommand } from '../../../src/commands/run.ts';

const folder = mkdtempSync(join(tmpdir(), 'plimsoll-rerun-'));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

/** Runs a command as the command line would, and takes its document. */
async function plimsoll(...words: string[]): Promise<RunDocument> {
  let out = '';
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    out += String(chunk);
    return true;
  });
  await yargs([...words, '--json'])
    .command(runCommand)
    .command(replayCommand)
    .strict()
    .exitProcess(false)
    .fail(false)
    .parseAsync();
  vi.restoreAllMocks();
  return JSON.parse(out) as RunDocument;
}

/** Kills `web` as soon as there is anything: no shipped policy does. */
const OWN = `export default {
  name: 'own',
  limits: (requests) => ({ parentBytes: null, childBytes: requests.map(() => null) }),
  decide: ({ names, killable }) => {
    const index = names.indexOf('web');
    return killable[index] === 1 ? [{ index, reason: 'it is web' }] : [];
  },
};`;

/** Under gaia `leak` dies, under hard-limit `web` too. */
const scenario = (policy: string): string => `title: t
why: w
memory: { policy: ${policy}, hardLimit: 100Mi }
containers:
  web: { request: 20Mi, workload: { constant: 30Mi } }
  leak: { request: 20Mi, workload: { leak: { from: 10Mi, perSecond: 40Mi } } }
timeline:
  - { at: 1s, do: { memory: { policy: ${policy}, killAt: 1.04 } } }
  - { at: 4s, do: end }
`;

const killed = ({ kills }: RunDocument): string[] => kills.map(({ container }) => container);

mkdirSync(join(folder, 'policies'));
const own = join(folder, 'policies', 'own.ts');
writeFileSync(own, OWN);
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const shipped = file('shipped.yaml', scenario('gaia'));
const itsOwn = file('own.yaml', scenario('./policies/own.ts'));
mkdirSync(join(folder, 'elsewhere'));
const recording = join(folder, 'elsewhere', 'recording');

test.each<[string, string[], string[]]>([
  ['its own policy', [shipped], ['leak']],
  ['another policy', [shipped, '--policy', 'hard-limit'], ['web', 'leak']],
  ['a policy of its own, by a path from the scenario', [itsOwn], ['web']],
  ['a policy of the user, by a path from here', [shipped, '--policy', own], ['web']],
])('a simulated run under %s is replayed as it was, wherever its recording lies', async (_what, words, victims) => {
  const run = () => plimsoll('run', ...words, '--record', recording);
  const replay = () => plimsoll('replay', recording);
  let [first, second] = [await run(), await replay()];
  // A commit made between the two is no difference of theirs.
  while (first.commit !== second.commit) [first, second] = [await run(), await replay()];
  expect(killed(first).toSorted()).toEqual(victims.toSorted());
  expect(second).toEqual(first);
});

test('a replay under another policy takes that, whatever was recorded', async () => {
  await plimsoll('run', shipped, '--policy', own, '--record', recording);
  const header = JSON.parse(readFileSync(recording, 'utf8').split('\n')[0]!) as object;
  expect(header).toMatchObject({ policy: 'own', policyOverride: own });
  const replayed = await plimsoll('replay', recording, '--policy', 'gaia');
  expect(replayed.policy).toBe('gaia');
  expect(killed(replayed)).toEqual(['leak']);
});
