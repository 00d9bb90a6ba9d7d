#!/usr/bin/env node
import yargs from 'yargs';
import { runInGuest } from './boot.ts';
import { environmentOf } from './environment.ts';
import { setUp } from './set-up.ts';

const say = (line: string): void => void process.stderr.write(`guest: ${line}\n`);

const argv = await yargs(process.argv.slice(2))
  .scriptName('npm run guest --')
  .usage(
    "$0 [--nics N] [--memory MIB] [--time-limit SECONDS] COMMAND...\n\nRuns a command as root in a QEMU guest with this machine's root and cgroup v2. Without one, only makes the guest ready.",
  )
  .parserConfiguration({ 'halt-at-non-option': true, 'populate--': false })
  .option('nics', { type: 'number', default: 0, describe: 'network cards with virtual functions' })
  .option('memory', {
    type: 'number',
    default: 2048,
    describe: 'MiB of memory; what is written outside /scratch takes of it',
  })
  .option('time-limit', { type: 'number', default: 900, describe: 'seconds' })
  .strictOptions()
  .version(false)
  .parseAsync();

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    process.exitCode = signal === 'SIGINT' ? 130 : 143;
    stop.abort();
  });
}

try {
  const files = await setUp(say);
  const command = argv._.map(String);
  if (command.length === 0) say('ready');
  else {
    const { exitCode, bootMs } = await runInGuest(command, {
      files,
      folder: process.cwd(),
      environment: environmentOf(process.env),
      memoryMib: argv.memory,
      nics: argv.nics,
      timeLimitMs: argv.timeLimit * 1000,
      stdout: process.stdout,
      stderr: process.stderr,
      signal: stop.signal,
    });
    say(`booted in ${(bootMs / 1000).toFixed(1)} s`);
    process.exitCode = exitCode;
  }
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode ??= 125;
}
