import { readFileSync } from 'node:fs';
import yargs, { type CommandModule } from 'yargs';
import { hideBin } from 'yargs/helpers';
import { benchCommand } from './commands/bench.ts';
import { compareCommand } from './commands/compare.ts';
import { doctorCommand } from './commands/doctor.ts';
import { fail } from './commands/errors.ts';
import { replayCommand } from './commands/replay.ts';
import { runCommand } from './commands/run.ts';
import { usageError } from './commands/usage.ts';

const COMMANDS = [runCommand, replayCommand, compareCommand, benchCommand, doctorCommand] as CommandModule[];

const WIDTH_MAX = 110;

const words = hideBin(process.argv);
/** What yargs found wrong with the words, before any command ran. */
let misuse: string | undefined;

const cli = yargs(words)
  .scriptName('plimsoll')
  .usage('$0 COMMAND\n\nHow far a container host may be loaded: tried on simulated machines, run on real ones.')
  .command(COMMANDS)
  .demandCommand(1, 'name a command')
  .strict()
  .parserConfiguration({ 'duplicate-arguments-array': false })
  .version(version())
  .alias({ help: 'h', version: 'V' })
  .epilogue(
    'Exit codes: 0 all held, 1 an expectation or invariant failed, 2 bad input or usage, 3 the host lacks something.',
  )
  .fail((message, error) => {
    const fromYargs = !(error as unknown) || error.name === 'YError';
    if (fromYargs) misuse = message || error.message;
    throw fromYargs ? new Error(misuse) : error;
  });

try {
  await cli.wrap(Math.min(WIDTH_MAX, cli.terminalWidth())).parseAsync();
} catch (error) {
  fail(misuse === undefined ? error : await usageError(misuse, words, COMMANDS));
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
