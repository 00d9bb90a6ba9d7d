import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandModule } from 'yargs';
import * as z from 'zod';
import { openLinuxHost } from '../../backends/linux/host.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { sweepDeadRuns } from '../../backends/linux/runs.ts';
import { attachBench } from '../../bench/attach.ts';
import { egressBench } from '../../bench/egress.ts';
import { memoryBench } from '../../bench/memory.ts';
import { replayBench } from '../../bench/replay.ts';
import type { BenchResult } from '../../bench/result.ts';
import { ENTRIES } from './backend/linux.ts';
import { readCommit } from './commit.ts';
import { EXIT, UsageError } from './errors.ts';
import { untilInterrupted } from './interruption.ts';
import { noStore } from './no-store.ts';

type Progress = (what: string) => void;

interface BenchRun {
  readonly environment: object;
  readonly results: readonly BenchResult[];
}

interface Bench {
  /** What it measures, for the help. */
  readonly measures: string;
  readonly run: (runs: number, onProgress: Progress) => Promise<BenchRun>;
}

/** What can be measured, by name. */
const BENCHES: Readonly<Record<string, Bench>> = {
  attach: {
    measures:
      'how long a container waits for its network, beside the CNI plugins; a thousand at once; another host; a million simulated pairs',
    run: async (runs, onProgress) => {
      await sweepDeadRuns();
      const interruption = untilInterrupted();
      try {
        return await attachBench({ runs, onProgress, signal: interruption.signal });
      } finally {
        interruption.close();
      }
    },
  },
  egress: {
    measures:
      'what shaping costs a packet with 5,000 containers, how near the limit it keeps them, beside iptables rules and the CNI plugin',
    run: async (runs, onProgress) => {
      await sweepDeadRuns();
      const interruption = untilInterrupted();
      try {
        return await egressBench({ runs, onProgress, signal: interruption.signal });
      } finally {
        interruption.close();
      }
    },
  },
  memory: {
    measures: 'what the memory supervisor costs with a thousand containers, and how fast it acts',
    run: async (runs, onProgress) => {
      await sweepDeadRuns();
      return await memoryBench({
        runs,
        onProgress,
        root: runMark('bench'),
        open: (root) => openLinuxHost({ name: 'bench', root, entries: ENTRIES, store: noStore }),
      });
    },
  },
  replay: {
    measures: 'how fast recorded usage is replayed, and a machine simulated',
    run: (runs, onProgress) => replayBench({ runs, onProgress, tracesFolder: process.env['PLIMSOLL_TRACES'] }),
  },
};

const MEASURES = Object.entries(BENCHES).map(([name, { measures }]) => `  ${name.padEnd(8)}${measures}`);

const Earlier = z.object({ results: z.array(z.object({ id: z.string(), value: z.number() })) });

interface BenchArguments {
  name: string;
  runs: number;
  out: string | undefined;
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
      .option('runs', { type: 'number', default: 5, describe: 'Rounds; the figures are medians' })
      .option('out', { type: 'string', describe: 'Folder to write NAME.json to' })
      .option('against', { type: 'string', describe: 'An earlier NAME.json to compare with' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON document on stdout' })
      .epilogue(['What each measures:', ...MEASURES].join('\n')),
  handler: async ({ name, runs, out, against, json }) => {
    if (!Number.isInteger(runs) || runs < 1) throw new UsageError(`--runs ${runs}: write a whole number, 1 or more`);
    const earlier = against === undefined ? new Map<string, number>() : readEarlier(against);
    const { environment, results } = await BENCHES[name]!.run(runs, (what) => process.stderr.write(`${what}\n`));
    const document = { bench: name, commit: await readCommit(), environment, results };
    const text = `${JSON.stringify(document, null, 2)}\n`;
    if (out !== undefined) {
      mkdirSync(out, { recursive: true });
      writeFileSync(join(out, `${name}.json`), text);
    }
    process.stdout.write(json ? text : results.map((each) => lineOf(each, earlier.get(each.id))).join(''));
    process.exitCode = EXIT.held;
  },
};

function readEarlier(path: string): Map<string, number> {
  try {
    const { results } = Earlier.parse(JSON.parse(readFileSync(path, 'utf8')));
    return new Map(results.map(({ id, value }) => [id, value]));
  } catch (error) {
    throw new UsageError(`--against ${path}: it is no result of a bench that could be read`, { cause: error });
  }
}

function lineOf({ id, value, unit, min, max, runs, peer }: BenchResult, before: number | undefined): string {
  const figure = (number: number): string => Number(number.toPrecision(4)).toString();
  const change = before === undefined ? '' : `, ${figure(value / before)} of ${figure(before)} before`;
  const beside = peer === undefined ? '' : `, ${figure(peer.ratio)} of the ${figure(peer.value)} of ${peer.name}`;
  return `${id}: ${figure(value)} ${unit} (${figure(min)} to ${figure(max)} in ${runs} runs${change})${beside}\n`;
}
