import { openLinuxHost } from '../../backends/linux/host.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { sweepDeadRuns } from '../../backends/linux/runs.ts';
import { attachBench } from '../../bench/attach.ts';
import { egressBench } from '../../bench/egress.ts';
import { memoryBench } from '../../bench/memory.ts';
import { replayBench } from '../../bench/replay.ts';
import type { BenchResult } from '../../bench/result.ts';
import { ENTRIES } from './backend/linux.ts';
import { nicBench } from './bench-nic.ts';
import type { NicArguments } from './bench-nic-options.ts';
import { untilInterrupted } from './interruption.ts';
import { noStore } from './no-store.ts';

export type Progress = (what: string) => void;

/** What a bench found. */
export interface BenchRun {
  readonly environment: object;
  readonly results: readonly BenchResult[];
  /** For a terminal; a line for each result unless set. */
  readonly text?: string;
  /** What can be written beside the results, by name. */
  readonly files?: () => Promise<Readonly<Record<string, string | Uint8Array>>>;
  /** Why it is not whole. */
  readonly partial?: Error;
}

/** What a bench may be told. */
export interface BenchOptions extends NicArguments {
  /** Rounds; as many as the bench itself thinks right unless set. */
  readonly runs: number | undefined;
  /** The folder that results are written to. */
  readonly out: string | undefined;
}

export interface Bench {
  /** What it measures, for the help. */
  readonly measures: string;
  readonly run: (options: BenchOptions, onProgress: Progress) => Promise<BenchRun>;
}

/** Figures are medians over so many rounds. */
const RUNS = 5;

/** Runs what ends by Ctrl-C when it has cleared up, after clearing up what a dead run left. */
async function untilSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  await sweepDeadRuns();
  const interruption = untilInterrupted();
  try {
    return await work(interruption.signal);
  } finally {
    interruption.close();
  }
}

/** What can be measured, by name. */
export const BENCHES: Readonly<Record<string, Bench>> = {
  attach: {
    measures:
      'how long a container waits for its network, beside the CNI plugins; a thousand at once; another host; a million simulated pairs',
    run: ({ runs = RUNS }, onProgress) => untilSignal((signal) => attachBench({ runs, onProgress, signal })),
  },
  egress: {
    measures:
      'what shaping costs a packet with 5,000 containers, how near the limit it keeps them, beside iptables rules and the CNI plugin',
    run: ({ runs = RUNS }, onProgress) => untilSignal((signal) => egressBench({ runs, onProgress, signal })),
  },
  memory: {
    measures: 'what the memory supervisor costs with a thousand containers, and how fast it acts',
    run: async ({ runs = RUNS }, onProgress) => {
      await sweepDeadRuns();
      return await memoryBench({
        runs,
        onProgress,
        root: runMark('bench'),
        open: (root) => openLinuxHost({ name: 'bench', root, entries: ENTRIES, store: noStore }),
      });
    },
  },
  nic: {
    measures: 'how many packets each way from a container to the wire passes, and what one costs: SR-IOV against NAT',
    run: (options, onProgress) => untilSignal((signal) => nicBench(options, onProgress, signal)),
  },
  replay: {
    measures: 'how fast recorded usage is replayed, and a machine simulated',
    run: ({ runs = RUNS }, onProgress) =>
      replayBench({ runs, onProgress, tracesFolder: process.env['PLIMSOLL_TRACES'] }),
  },
};
