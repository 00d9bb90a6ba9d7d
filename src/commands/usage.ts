import yargs, { type CommandModule } from 'yargs';
import { hint, nearest } from '../scenario/nearest.ts';
import { UsageError } from './errors.ts';

/** What yargs found wrong with the words of the command line, in one line, with the nearest name where one is misspelt. */
export async function usageError(
  message: string,
  words: readonly string[],
  commands: readonly CommandModule[],
): Promise<UsageError> {
  const command = commands.find((each) => nameOf(each) === words[0]);
  const help = command === undefined ? 'plimsoll --help' : `plimsoll ${nameOf(command)} --help`;
  const written = /^Unknown (?:argument|command)s?: (.*)$/m.exec(message)?.[1]?.split(', ')[0];
  if (written === undefined) return new UsageError(`${message.replaceAll(/\s+/g, ' ').trim()}; see ${help}`);

  const option = words.find((word) => word.startsWith('-') && word.replace(/^-+/, '').split('=')[0] === written);
  if (option !== undefined) {
    const near = nearest(written, command === undefined ? ['help', 'version'] : await optionsOf(command));
    return new UsageError(
      `unknown option ${option}: ${near === undefined ? `see ${help}` : `did you mean --${near}?`}`,
    );
  }
  if (command !== undefined) return new UsageError(`${nameOf(command)} does not take "${written}"; see ${help}`);
  return new UsageError(`unknown command "${written}": ${hint(written, commands.map(nameOf))}`);
}

const nameOf = ({ command }: CommandModule): string => String(command).split(' ')[0]!;

/** The long options of a command, as its help shows them: yargs has no other way to tell. */
async function optionsOf({ builder }: CommandModule): Promise<string[]> {
  const help = typeof builder === 'function' ? await (await builder(yargs([]))).getHelp() : '';
  return [...help.matchAll(/--([a-z][a-z-]*)/g)].map(([, name]) => name!);
}
