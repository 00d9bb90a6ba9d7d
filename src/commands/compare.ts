import type { CommandModule } from 'yargs';
import { formatBytes, parseBytes } from '../host/units.ts';
import type { MemoryPolicy } from '../memory/policy.ts';
import { compareText, type Ground, type Outcome } from '../report/comparison.ts';
import { DAY_HARD_LIMIT_BYTES, generateDay } from '../traces/generate.ts';
import type { Trace } from '../traces/trace.ts';
import { place, type Placement } from '../tuning/placement.ts';
import { replay } from '../tuning/replay.ts';
import { REQUEST_RULES, type RequestRule } from '../tuning/requests.ts';
import { timeline } from '../tuning/timeline.ts';
import { readCommit } from './commit.ts';
import { paintFor } from './paint.ts';
import { loadPolicy } from './policy.ts';
import { progressOnStderr } from './progress.ts';
import { readTraceAt } from './traces.ts';

/** Columns of a plot where no terminal says how wide it is. */
const COLUMNS = 100;
/** Left of a plot: labels of its lines. */
const GUTTER = 30;

interface CompareArguments {
  source?: string[] | undefined;
  policies: string;
  'hard-limit'?: string | undefined;
  request?: RequestRule | undefined;
  machines?: number | undefined;
  seed: number;
  json: boolean;
}

/** `plimsoll compare [TRACE]`: the same load under two policies or more, side by side. What `npm start` runs. */
export const compareCommand: CommandModule<object, CompareArguments> = {
  command: 'compare [source..]',
  describe: 'Show what policies make of one load, side by side: a recorded trace, or a generated day',
  builder: (yargs) =>
    yargs
      .positional('source', {
        type: 'string',
        array: true,
        describe: 'A recording, a file of a trace, or its folder; a generated day without it',
      })
      .option('policies', {
        type: 'string',
        default: 'gaia,hard-limit',
        requiresArg: true,
        describe: 'Names or files, comma-separated',
      })
      .option('hard-limit', {
        type: 'string',
        requiresArg: true,
        describe: 'Of each machine; else as recorded, else the peak of summed requests',
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
      .option('seed', { type: 'number', default: 1, requiresArg: true, describe: 'Of the generated day' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON document on stdout' }),
  handler: run,
};

async function run(given: CompareArguments): Promise<void> {
  const policies: MemoryPolicy[] = [];
  for (const name of given.policies.split(',')) policies.push((await loadPolicy(name.trim())).policy);
  const source = given.source ?? [];
  const placement = source.length === 0 ? placeDay(given) : place(await readSource(source), settingsOf(given));

  const columns = Math.max(20, (process.stdout.columns ?? COLUMNS + GUTTER) - GUTTER);
  const progress = progressOnStderr();
  const outcomes = policies.map((policy) => {
    progress.say(() => `replaying under ${policy.name}`);
    return outcomeOf(placement, policy, columns);
  });
  progress.end();
  const ground = groundOf(placement);
  if (given.json) process.stdout.write(`${JSON.stringify({ ...ground, commit: await readCommit(), outcomes })}\n`);
  else process.stdout.write(`${compareText(ground, outcomes, paintFor(process.stdout)).join('\n')}\n`);
}

async function readSource(source: readonly string[]): Promise<Trace> {
  const progress = progressOnStderr();
  const trace = await readTraceAt(source, {
    onProgress: ({ file, readBytes }) => progress.say(() => `reading ${file}: ${formatBytes(readBytes)}`),
  });
  progress.end();
  return trace;
}

const settingsOf = ({ request, machines, 'hard-limit': hardLimit }: CompareArguments) => ({
  ...(request !== undefined && { request }),
  machines,
  ...(hardLimit !== undefined && { hardLimitBytes: parseBytes(hardLimit) }),
});

const placeDay = (given: CompareArguments): Placement =>
  place(generateDay(given.seed), {
    hardLimitBytes: parseBytes(DAY_HARD_LIMIT_BYTES),
    request: 'recorded',
    ...settingsOf(given),
  });

const groundOf = ({ trace, machines }: Placement): Ground => ({
  title: trace.title,
  spanMs: trace.spanMs,
  hardLimitBytes: machines.reduce((sum, { line }) => sum + line.hardLimitBytes, 0),
  killAtBytes: machines.reduce((sum, { line }) => sum + line.killAtBytes, 0),
  machines: machines.length,
  overCommit: Math.max(...machines.map(({ requestPeakBytes, line }) => requestPeakBytes / line.hardLimitBytes)),
});

function outcomeOf(placement: Placement, policy: MemoryPolicy, columns: number): Outcome {
  const { kills, summary } = replay(placement, policy);
  return {
    policy: policy.name,
    about: policy.about,
    kills,
    containers: summary.containers,
    killsBySupervisor: summary.killsBySupervisor,
    killsByKernel: summary.killsByKernel,
    killsWithinRequest: summary.killsWithinRequest,
    peakTotalBytes: summary.peakTotalBytes,
    timeOverHardLimitMs: summary.machineTimeOverHardLimitMs,
    totalBytes: [...timeline(placement, kills, columns)],
  };
}
