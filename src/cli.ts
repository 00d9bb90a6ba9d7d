import { readFileSync } from 'node:fs';
import yargs, { type Argv } from 'yargs';
import { hideBin } from 'yargs/helpers';
import { compareCommand } from './commands/compare.ts';
import { doctorCommand } from './commands/doctor.ts';
import { fail, UsageError } from './commands/errors.ts';
import { replayCommand } from './commands/replay.ts';
import { runCommand } from './commands/run.ts';
import { hint, nearest } from './scenario/nearest.ts';

const COMMANDS = ['run', 'replay', 'compare', 'doctor'];

const WIDTH_MAX = 110;

const cli = yargs(hideBin(process.argv))
  .scriptName('plimsoll')
  .usage('$0 COMMAND\n\nHow far a container host may be loaded: tried on simulated machines, run on real ones.')
  .command(runCommand)
  .command(replayCommand)
  .command(compareCommand)
  .command(doctorCommand)
  .demandCommand(1, 'name a command')
  .strict()
  .parserConfiguration({ 'duplicate-arguments-array': false })
  .version(version())
  .alias({ help: 'h', version: 'V' })
  .epilogue(
    'Exit codes: 0 all held, 1 an expectation or invariant failed, 2 bad input or usage, 3 the host lacks something.',
  )
  .fail((message, error, at) => {
    throw error ?? new UsageError(sayUsage(message, at));
  });

try {
  await cli.wrap(Math.min(WIDTH_MAX, cli.terminalWidth())).parseAsync();
} catch (error) {
  fail(error);
}

function version(): string {
  for (const folder of ['..', '../..']) {
    try {
      return (
        JSON.parse(readFileSync(new URL(`${folder}/package.json`, import.meta.url), 'utf8')) as { version: string }
      ).version;
    } catch {
      // Built code lies one folder deeper.
    }
  }
  return 'unknown';
}

/** What yargs found wrong, in one line, with the nearest name where one was misspelt. */
function sayUsage(message: string, at: Argv): string {
  const unknown = /^Unknown (argument|command)s?: (.*)$/m.exec(message);
  if (unknown === null) return `${oneLine(message)}; see plimsoll --help`;
  const written = unknown[2]!.split(', ')[0]!;
  const words = process.argv.slice(2);
  const isOption = words.some(
    (word) => word === `--${written}` || word.startsWith(`--${written}=`) || word === `-${written}`,
  );
  const command = COMMANDS.find((name) => words.includes(name));
  if (isOption) {
    const known = optionsOf(at);
    const near = nearest(written, known);
    return `unknown option --${written}: ${near === undefined ? hint(written, known) : `did you mean --${near}?`}`;
  }
  if (command === undefined) return `unknown command "${written}": ${hint(written, COMMANDS)}`;
  return `${command} does not take "${written}"; see plimsoll ${command} --help`;
}

/** The long options of the command that was being parsed. yargs has them, but its types do not say so. */
function optionsOf(at: Argv): string[] {
  const { key } = (at as unknown as { getOptions(): { key: Record<string, unknown> } }).getOptions();
  return Object.keys(key).filter((name) => name.length > 1 && !/[A-Z]/.test(name));
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
