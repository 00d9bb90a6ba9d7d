#!/usr/bin/env node
// `npm run mutants [-- FILE...]`: tries each small wrong change of test/mutants/*.json in a copy of the tree, and says which
// one the tests do not catch. Exit code 1 on a survivor, and on a change that fits no longer.
import { readdirSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import * as z from 'zod';

const mutantSchema = z.strictObject({
  /** Of the product, from the root of the repository. */
  file: z.string(),
  /** What stands there exactly once. */
  find: z.string().min(1),
  replace: z.string(),
  /** A command that must go red, as words. */
  test: z.array(z.string()).min(1),
  /** What is wrong with it, for whoever reads that it survived. */
  why: z.string(),
});
type Mutant = z.infer<typeof mutantSchema>;

/** A test run that hangs on a mutant has caught it. */
const TIME_LIMIT_MS = 300_000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Tries the mutants of these lists on a copy of the tree; true where each was caught. */
async function tryAll(root: string, lists: readonly string[]): Promise<boolean> {
  const copy = await mkdtemp(path.join(tmpdir(), 'plimsoll-mutants-'));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  try {
    await copyTree(root, copy);
    const counts = { caught: 0, failed: 0 };
    const green = new Map<string, boolean>();
    for (const list of lists) {
      for (const mutant of z.array(mutantSchema).parse(JSON.parse(await readFile(list, 'utf8')))) {
        const told = await tryOne(copy, mutant, green, stop.signal);
        counts[told === 'caught' ? 'caught' : 'failed']++;
        say(`${told}: ${mutant.file}: ${mutant.why}`);
      }
    }
    say(`${counts.caught} caught, ${counts.failed} not`);
    return counts.failed === 0 && counts.caught > 0;
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

async function tryOne(
  copy: string,
  { file, find, replace, test }: Mutant,
  green: Map<string, boolean>,
  signal: AbortSignal,
): Promise<string> {
  const place = path.join(copy, file);
  const source = await readFile(place, 'utf8').catch(() => '');
  const fits = source.split(find).length - 1;
  if (fits !== 1) return `DOES NOT FIT (found ${fits} times)`;
  // A command that is red without any change would catch everything.
  const command = test.join(' ');
  if (!green.has(command)) green.set(command, await passes(copy, test, signal));
  if (green.get(command) !== true) return `RED WITHOUT THE CHANGE (${command})`;
  await writeFile(
    place,
    source.replace(find, () => replace),
  );
  try {
    return (await passes(copy, test, signal)) ? `SURVIVED ${command}` : 'caught';
  } finally {
    await writeFile(place, source);
  }
}

async function passes(
  copy: string,
  [command = '', ...words]: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  const result = await execa(command, words, {
    cwd: copy,
    preferLocal: true,
    localDir: copy,
    reject: false,
    all: true,
    stdin: 'ignore',
    timeout: TIME_LIMIT_MS,
    cancelSignal: signal,
    // Not those of a Vitest that runs this program.
    extendEnv: false,
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'))),
  });
  signal.throwIfAborted();
  return result.exitCode === 0;
}

/** What git knows or would with the next commit; the installed packages are shared. */
async function copyTree(root: string, copy: string): Promise<void> {
  const { stdout } = await execa('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root });
  for (const file of stdout.split('\n')) {
    // Git still lists what was deleted and not committed.
    await cp(path.join(root, file), path.join(copy, file)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
  await symlink(path.join(root, 'node_modules'), path.join(copy, 'node_modules'));
}

const root = path.join(import.meta.dirname, '..');
const folder = path.join(import.meta.dirname, 'mutants');
const given = process.argv.slice(2);
const lists =
  given.length > 0
    ? given
    : readdirSync(folder)
        .filter((name) => name.endsWith('.json'))
        .map((name) => path.join(folder, name));
process.exitCode = (await tryAll(root, lists)) ? 0 : 1;
