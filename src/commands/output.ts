import type { Observation } from '../engine/observation.ts';
import { formatBytes, formatMilliseconds } from '../host/units.ts';
import type { RunResult } from '../scenario/run.ts';
import { reachMatrices } from './reach-matrix.ts';

/** What `plimsoll run --json` prints. */
export interface RunDocument {
  readonly title: string;
  readonly backend: string;
  readonly policy: string;
  readonly seed: number;
  readonly commit: string;
  /** SHA-256 of all bytes of the recording. */
  readonly digest: string;
  readonly held: boolean;
  readonly expectations: readonly { readonly text: string; readonly held: boolean | null; readonly detail: string }[];
  readonly kills: RunResult['kills'];
  readonly summary: RunSummary;
}

interface RunSummary {
  readonly durationMs: number;
  readonly containers: number;
  readonly kills: number;
  readonly killsBySupervisor: number;
  readonly killsByKernel: number;
  readonly peakTotalBytes: number;
  readonly looksNearTheLimit: number;
  readonly engineCrashes: number;
  readonly observations: number;
  readonly brokenInvariants: readonly string[];
}

/** The document of a run. An expectation that does not apply is left out: it neither held nor failed. */
export function documentOf(result: RunResult, digest: string): RunDocument {
  const { title, backend, policy, seed, commit } = result.header;
  return {
    title,
    backend,
    policy,
    seed,
    commit,
    digest,
    held: result.held,
    expectations: result.verdicts.filter(({ held }) => held !== null),
    kills: result.kills,
    summary: summaryOf(result),
  };
}

function summaryOf({ observations, kills, broken }: RunResult): RunSummary {
  const containers = new Set<string>();
  let peakTotalBytes = 0;
  let looksNearTheLimit = 0;
  let engineCrashes = 0;
  for (const each of observations) {
    if (each.kind === 'start') containers.add(each.container);
    if (each.kind === 'look') looksNearTheLimit++;
    if (each.kind === 'note' && each.about === 'crash') engineCrashes++;
    if (each.kind === 'look' || each.kind === 'sample') peakTotalBytes = Math.max(peakTotalBytes, each.totalBytes);
  }
  return {
    durationMs: observations.at(-1)?.atMs ?? 0,
    containers: containers.size,
    kills: kills.length,
    killsBySupervisor: kills.filter(({ cause }) => cause === 'supervisor').length,
    killsByKernel: kills.filter(({ cause }) => cause === 'kernel').length,
    peakTotalBytes,
    looksNearTheLimit,
    engineCrashes,
    observations: observations.length,
    brokenInvariants: broken,
  };
}

/** A run told to people: what happened, step by step, and what was expected. */
export function textOf(why: string, result: RunResult, digest: string, reproduce: string): string {
  const { header, verdicts, broken, held } = result;
  return [
    header.title,
    ...wrap(why, 100).map((line) => `  ${line}`),
    '',
    `${header.backend === 'sim' ? 'simulated' : 'on this machine'}, policy ${header.policy}, seed ${header.seed}`,
    ...accountOf(result.observations),
    ...reachMatrices(result.observations),
    '',
    ...verdicts.flatMap(({ text, held, detail }) => [
      `${held === null ? '–' : held ? '✓' : '✗'} ${text}`,
      `    ${detail}`,
    ]),
    ...broken.map((message) => `✗ invariant broken: ${message}`),
    ...(verdicts.length === 0 ? ['nothing was expected of it'] : []),
    '',
    `digest ${digest}`,
    ...(held ? [] : [`again: ${reproduce}`]),
    '',
  ].join('\n');
}

/** What happened, a line each, in order of time. */
function accountOf(observations: readonly Observation[]): string[] {
  const rows = observations
    .flatMap((each) => {
      const told = tell(each);
      const who = each.host === undefined || !('container' in each) ? (each.host ?? '') : `${each.host}: `;
      return told === undefined
        ? []
        : [{ atMs: each.atMs, who: `${who}${'container' in each ? each.container : ''}`, told }];
    })
    .toSorted((a, b) => a.atMs - b.atMs);
  const width = Math.max(0, ...rows.map(({ who }) => who.length));
  return rows.map(({ atMs, who, told }) =>
    `  ${(atMs / 1000).toFixed(2).padStart(7)} s  ${who.padEnd(width)}  ${told}`.trimEnd(),
  );
}

/** What an observation says to people; undefined where it is of no interest to them. */
function tell(observation: Observation): string | undefined {
  switch (observation.kind) {
    case 'line':
      return `policy ${observation.policy}: hard limit ${formatBytes(observation.hardLimitBytes)}, kills past ${formatBytes(observation.killAtBytes)} down to ${formatBytes(observation.stopAtBytes)}, ceiling ${formatBytes(observation.ceilingBytes)}, a look each ${formatMilliseconds(observation.lookEveryMs)}`;
    case 'start':
      return `starts, asking for ${formatBytes(observation.requestBytes)}`;
    case 'request':
      return `now asks for ${formatBytes(observation.requestBytes)}`;
    case 'decision':
      return (
        { killed: 'killed', dry: 'would be killed', failed: `could not be killed (${observation.error ?? ''})` }[
          observation.outcome
        ] + `: ${observation.reason}`
      );
    case 'passedOver':
      return `passed over: a second after its death ${formatBytes(observation.heldBytes)} of it are still there`;
    case 'death':
      return {
        supervisor: 'is gone',
        kernel: "killed by the kernel's OOM killer",
        stopped: 'stopped as asked',
        exit: 'ended by itself',
      }[observation.cause];
    case 'trouble':
      return `trouble: ${observation.message}`;
    case 'note':
      return `${observation.about}: ${observation.message}`;
    case 'step':
      return observation.error === undefined ? undefined : `refused: ${observation.error}`;
    case 'address':
      return observation.taken
        ? `has ${observation.address} in network ${observation.network}`
        : `gave back ${observation.address} of network ${observation.network}`;
    case 'refusal':
      return `refused: ${observation.message}`;
    case 'reach':
    case 'classes':
    case 'rate':
    case 'packets':
    case 'functions':
    case 'qdiscs':
    case 'look':
    case 'sample':
    case 'end':
      return undefined;
  }
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
