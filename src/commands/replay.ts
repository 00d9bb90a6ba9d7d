import { createHash } from 'node:crypto';
import type { CommandModule } from 'yargs';
import { formatBytes, formatMilliseconds, parseBytes, parseMilliseconds, UnitError } from '../host/units.ts';
import { policyNames } from '../memory/policies.ts';
import type { RecordedRun, Trace } from '../traces/trace.ts';
import { ReplayError } from '../tuning/errors.ts';
import { place, type Placement } from '../tuning/placement.ts';
import { ASSUMED, replay, type ReplayResult } from '../tuning/replay.ts';
import { REQUEST_RULES, type RequestRule } from '../tuning/requests.ts';
import { readCommit } from './commit.ts';
import { documentOf as documentOfRun, textOf as textOfRun } from './output.ts';
import { loadPolicy } from './policy.ts';
import { progressOnStderr } from './progress.ts';
import { rerun } from './rerun.ts';
import { readTraceAt } from './traces.ts';

/** Kills that the text lists; --json lists all. */
const LISTED = 12;

interface ReplayArguments {
  source: string[];
  policy?: string | undefined;
  'hard-limit'?: string | undefined;
  request?: RequestRule | undefined;
  machines?: number | undefined;
  'kill-at'?: string | undefined;
  'stop-at'?: string | undefined;
  'look-every'?: string | undefined;
  unit?: string | undefined;
  json: boolean;
}

/** `plimsoll replay RECORDING|TRACE`: what another policy would have done with usage that was recorded. */
export const replayCommand: CommandModule<object, ReplayArguments> = {
  command: 'replay <source..>',
  describe: 'Run a recording, or a recorded trace (a folder or files), under a policy',
  builder: (yargs) =>
    yargs
      .positional('source', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'A recording, a file of a trace, or its folder',
      })
      .option('policy', {
        type: 'string',
        requiresArg: true,
        describe: 'Name of a policy, or ./mine.ts; else as recorded, or gaia',
      })
      .option('hard-limit', {
        type: 'string',
        requiresArg: true,
        describe: 'Of each machine, 128GiB; else as recorded, else the peak of summed requests',
      })
      .option('request', {
        choices: REQUEST_RULES,
        describe: 'How requests are taken: p99 for traces, recorded for recordings',
      })
      .option('machines', {
        type: 'number',
        requiresArg: true,
        describe: 'Spread the containers over so many machines, in turn',
      })
      .option('kill-at', {
        type: 'string',
        requiresArg: true,
        describe: 'Share of the hard limit past which somebody is killed, 1.05',
      })
      .option('stop-at', { type: 'string', requiresArg: true, describe: 'Share at or below which killing stops, 1.00' })
      .option('look-every', { type: 'string', requiresArg: true, describe: 'Time between two looks, 100ms' })
      .option('unit', {
        type: 'string',
        requiresArg: true,
        describe: 'What 1 is worth in the trace, where it does not say: 1MiB',
      })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON document on stdout' }),
  handler: run,
};

async function run(given: ReplayArguments): Promise<void> {
  const asked = settingsOf(given);
  const own = given.policy === undefined ? undefined : await loadPolicy(given.policy);
  const progress = progressOnStderr();
  const trace = await readTraceAt(given.source, {
    ...(given.unit !== undefined && { unitBytes: parseBytes(given.unit) }),
    onProgress: ({ file, readBytes }) => progress.say(() => `reading ${file}: ${formatBytes(readBytes)}`),
  });
  progress.end();
  if (trace.recorded?.scenario !== undefined) {
    await runAgain(trace.recorded, given);
    return;
  }
  const { policy } = own ?? (await loadPolicy(recordedPolicy(trace)));
  const placement = place(trace, asked);
  const result = replay(placement, policy);
  process.stdout.write(given.json ? `${JSON.stringify(await documentOf(trace, result))}\n` : textOf(placement, result));
}

/** A recording of a real run is replayed under the policy it was made with, where that is one of the shipped or was given. */
const recordedPolicy = ({ recorded }: Trace): string =>
  recorded?.policyOverride ??
  (recorded !== null && policyNames.includes(recorded.policy) ? recorded.policy : policyNames[0]!);

/** A simulated recording holds its scenario: it is not looked at but run again. */
async function runAgain(recorded: RecordedRun, given: ReplayArguments): Promise<void> {
  const idle = ONLY_FOR_USAGE.find((option) => given[option] !== undefined);
  if (idle !== undefined)
    throw new ReplayError(`--${idle} does not apply to a simulated recording, which is run again as its scenario says`);
  const [file] = given.source as [string];
  const { why, result, digest } = await rerun(recorded, file, given.policy);
  process.stdout.write(
    given.json
      ? `${JSON.stringify(documentOfRun(result, digest))}\n`
      : textOfRun(
          why,
          result,
          digest,
          `plimsoll replay ${file}${given.policy === undefined ? '' : ` --policy ${given.policy}`}`,
        ),
  );
  if (!result.held) process.exitCode = 1;
}

const ONLY_FOR_USAGE = ['hard-limit', 'request', 'machines', 'kill-at', 'stop-at', 'look-every', 'unit'] as const;

function settingsOf(given: ReplayArguments) {
  return {
    ...(given.request !== undefined && { request: given.request }),
    machines: given.machines,
    hardLimitBytes: given['hard-limit'] === undefined ? undefined : parseBytes(given['hard-limit']),
    killAt: factorOf('--kill-at', given['kill-at']),
    stopAt: factorOf('--stop-at', given['stop-at']),
    lookEveryMs: given['look-every'] === undefined ? undefined : parseMilliseconds(given['look-every']),
  };
}

/** `1.05`, or `105%`. */
function factorOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*$/.exec(text);
  if (!match) throw new UnitError(`${option} "${text}" is no share of the hard limit: write 1.05 or 105%`);
  return Number(match[1]) / (match[2] === '%' ? 100 : 1);
}

/** The document of `--json`. The digest is over kills and summary, a line each. */
async function documentOf(trace: Trace, { kills, summary }: ReplayResult) {
  const digest = createHash('sha256');
  for (const line of [...kills, summary]) digest.update(`${JSON.stringify(line)}\n`);
  return {
    title: trace.title,
    backend: 'replay' as const,
    policy: summary.policy,
    seed: 0,
    commit: await readCommit(),
    digest: digest.digest('hex'),
    held: true,
    expectations: [],
    kills,
    summary,
  };
}

/** The outcome for people. */
function textOf({ trace, machines }: Placement, { kills, summary }: ReplayResult): string {
  const count = (number: number, one: string): string =>
    `${number.toLocaleString('en')} ${one}${number === 1 ? '' : 's'}`;
  const limit =
    summary.hardLimitBytes === summary.hardLimitBytesMax
      ? formatBytes(summary.hardLimitBytes)
      : `${formatBytes(summary.hardLimitBytes)} to ${formatBytes(summary.hardLimitBytesMax)}`;
  const lines = [
    `${trace.title}: ${count(summary.containers, 'container')} on ${count(summary.machines, 'machine')}, ${formatMilliseconds(summary.spanMs)}, ${count(trace.usageBytes.length, 'sample')}`,
    `policy ${summary.policy}; hard limit ${limit}; requests ${summary.requests}, at most ${summary.overCommit.toFixed(2)} of the hard limit at one time`,
    '',
    summary.kills === 0
      ? 'nobody was killed'
      : `${count(summary.kills, 'kill')}: ${summary.killsBySupervisor} by the supervisor, ${summary.killsByKernel} by the kernel; ${summary.killsWithinRequest} were within their request`,
    ...kills
      .slice(0, LISTED)
      .map(
        (kill) =>
          `  ${formatMilliseconds(kill.atMs).padEnd(10)} ${machines.length > 1 ? `${kill.machine}: ` : ''}${kill.container}: ${kill.reason}`,
      ),
    ...(kills.length > LISTED ? [`  and ${kills.length - LISTED} more; --json lists all`] : []),
    `highest total ${formatBytes(summary.peakTotalBytes)}; above the hard limit for ${formatMilliseconds(summary.machineTimeOverHardLimitMs)}`,
    ...(summary.assumedShare > 0
      ? [
          `${(summary.assumedShare * 100).toFixed(1)} % of container time is assumed: those killed while recording keep their last value`,
        ]
      : []),
    ...[...trace.notes, ...summary.assumed.map((signal) => ASSUMED[signal]!)].map((note) => `note: ${note}`),
  ];
  return `${lines.join('\n')}\n`;
}
