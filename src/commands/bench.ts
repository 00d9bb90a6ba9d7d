import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandModule } from 'yargs';
import { type Change, changesSince, type Earlier, readEarlier } from '../../bench/against.ts';
import type { BenchResult } from '../../bench/result.ts';
import { nicSink } from './bench-nic.ts';
import { HostError } from '../host/errors.ts';
import { Interrupted } from '../scenario/run.ts';
import { NIC_OPTIONS, withoutNicOptions } from './bench-nic-options.ts';
import { BENCHES, type BenchOptions } from './benches.ts';
import { readCommit } from './commit.ts';
import { EXIT, fail, UsageError } from './errors.ts';
import { untilInterrupted } from './interruption.ts';

const MEASURES = Object.entries(BENCHES).map(([name, { measures }]) => `  ${name.padEnd(8)}${measures}`);

interface BenchArguments extends BenchOptions {
  name: string;
  against: string | undefined;
  json: boolean;
}

/** `plimsoll bench NAME`: measures, keeps the raw rounds, and compares with an earlier run's file. */
export const benchCommand: CommandModule<object, BenchArguments> = {
  command: 'bench <name>',
  describe: 'Measure how fast Plimsoll is',
  builder: (yargs) =>
    yargs
      .positional('name', {
        type: 'string',
        demandOption: true,
        choices: Object.keys(BENCHES),
        describe: 'What to measure',
      })
      .option('runs', {
        type: 'number',
        describe: 'Rounds; the figures are medians [default: 5; of nic 10, and 3 if --quick]',
      })
      .option('out', { type: 'string', describe: 'Folder to write NAME.json to' })
      .option('against', { type: 'string', describe: 'An earlier NAME.json to compare with' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON document on stdout' })
      .options(NIC_OPTIONS)
      .epilogue(['What each measures:', ...MEASURES].join('\n')),
  handler: async ({ name, against, json, ...options }) => {
    const { runs, out } = options;
    if (runs !== undefined && (!Number.isInteger(runs) || runs < 1))
      throw new UsageError(`--runs ${runs}: write a whole number, 1 or more`);
    if (name !== 'nic') withoutNicOptions(options, name);
    if (options.sink) return await beSink(options);
    if (out !== undefined) makeFolder(out);
    const earlier = against === undefined ? null : readAgainst(against, name);
    const { environment, results, text, files, partial } = await BENCHES[name]!.run(options, (what) =>
      process.stderr.write(`${what}\n`),
    );
    const changes = earlier === null ? [] : changesSince(earlier, results);
    const document = {
      bench: name,
      commit: await readCommit(),
      ...(partial && { partial: partial.message }),
      environment,
      results,
      ...(earlier && { changes }),
    };
    const written = `${JSON.stringify(document, null, 2)}\n`;
    if (out !== undefined) writeAll(out, { [`${name}.json`]: written, ...(await files?.()) });
    process.stdout.write(json ? written : (text ?? linesOf(results, changes)));
    if (!json && text !== undefined) process.stdout.write(changeLines(changes));
    process.exitCode = EXIT.held;
    if (partial !== undefined) cutShort(name, partial);
  },
};

/** What was measured before is told already. */
function cutShort(name: string, why: Error): void {
  if (why instanceof Interrupted || why instanceof HostError) return fail(why);
  process.stderr.write(
    `plimsoll: bench ${name}: ${why.message}; what was measured before is kept, and marked as partial\n`,
  );
  process.exitCode = EXIT.failed;
}

/** The other end of somebody's bench, until Ctrl-C. */
async function beSink(options: BenchOptions): Promise<void> {
  const interruption = untilInterrupted();
  try {
    await nicSink(options, (what) => process.stderr.write(`${what}\n`), interruption.signal);
  } finally {
    interruption.close();
  }
}

/** Before anything is measured for it. @throws UsageError */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
  } catch (error) {
    throw new UsageError(`--out ${folder}: it is no folder that can be written to`, { cause: error });
  }
}

function writeAll(folder: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
}

function linesOf(results: readonly BenchResult[], changes: readonly Change[]): string {
  const changeOf = new Map(changes.map((change) => [change.id, change]));
  return results.map((each) => lineOf(each, changeOf.get(each.id))).join('');
}

const changeLines = (changes: readonly Change[]): string =>
  changes.map(({ id, words, before }) => `${id}: ${words}: ${figure(before)} before\n`).join('');

function readAgainst(path: string, bench: string): Earlier {
  try {
    return readEarlier(readFileSync(path, 'utf8'), bench);
  } catch (error) {
    const why = error instanceof RangeError ? error.message : 'it is no result of a bench that could be read';
    throw new UsageError(`--against ${path}: ${why}`, { cause: error });
  }
}

const figure = (number: number): string => Number(number.toPrecision(4)).toString();

function lineOf({ id, value, unit, min, max, runs, peer }: BenchResult, change: Change | undefined): string {
  const changed = change === undefined ? '' : `; ${change.words}: ${figure(change.before)} before`;
  const beside = peer === undefined ? '' : `, ${figure(peer.ratio)} of the ${figure(peer.value)} of ${peer.name}`;
  return `${id}: ${figure(value)} ${unit} (${figure(min)} to ${figure(max)} in ${runs} runs)${beside}${changed}\n`;
}
