import type { MemoryPolicy, Snapshot } from '../../src/memory/policy.ts';
import type { Placement } from '../../src/tuning/placement.ts';

/** What a replay must come to, found without skipping anything: every millisecond, every look. */
export interface Reference {
  readonly kills: readonly string[];
  readonly peakTotalBytes: number;
  readonly overHardLimitMs: number;
  /** Looks at which two containers were furthest over by the same amount. */
  readonly ties: number;
}

interface One {
  readonly name: string;
  readonly requestBytes: number;
  readonly runs: readonly (readonly (readonly [atMs: number, bytes: number])[])[];
  dead: boolean;
}

export function referenceReplay(placement: Placement, policy: MemoryPolicy): Reference {
  const kills: { atMs: number; text: string }[] = [];
  let peakTotalBytes = 0;
  let overHardLimitMs = 0;
  let ties = 0;
  for (const machine of placement.machines) {
    const { line } = machine;
    const containers = [...machine.series].map((series) => containerOf(placement, series));
    const limits = policy.limits(
      containers.map(({ requestBytes }) => requestBytes),
      line,
    );
    for (let atMs = 0; atMs <= placement.trace.spanMs; atMs++) {
      const kill = (one: One, bytes: number, by: string): void => {
        one.dead = true;
        kills.push({ atMs, text: `${atMs} ${machine.name} ${one.name} ${by} ${bytes - one.requestBytes}` });
      };
      for (const [index, one] of containers.entries()) {
        const bytes = one.dead ? undefined : usageAt(one, atMs);
        const limit = limits.childBytes[index];
        if (bytes !== undefined && typeof limit === 'number' && bytes > limit) kill(one, bytes, 'kernel');
      }
      const alive = (): { one: One; bytes: number }[] =>
        containers.flatMap((one) => {
          const bytes = one.dead ? undefined : usageAt(one, atMs);
          return bytes === undefined ? [] : [{ one, bytes }];
        });
      const total = (): number => alive().reduce((sum, { bytes }) => sum + bytes, 0);
      peakTotalBytes = Math.max(peakTotalBytes, total());
      if (atMs % line.lookEveryMs === 0 && policy.decide && total() > (policy.actsAboveBytes?.(line) ?? -Infinity)) {
        for (let killedInLook = 0; ;) {
          const there = alive();
          const snapshot: Snapshot = {
            count: there.length,
            names: there.map(({ one }) => one.name),
            requestBytes: Float64Array.from(there, ({ one }) => one.requestBytes),
            workingSetBytes: Float64Array.from(there, ({ bytes }) => bytes),
            rssBytes: Float64Array.from(there, ({ bytes }) => bytes),
            priority: new Float64Array(there.length),
            killable: Uint8Array.from(there, ({ bytes }) => Number(bytes > 0)),
            totalBytes: total(),
            line,
            killedInLook,
          };
          const victims = policy.decide(snapshot);
          if (victims.length === 0) break;
          const over = there.map(({ one, bytes }) => bytes - one.requestBytes);
          if (over.filter((amount) => amount === Math.max(...over)).length > 1) ties++;
          for (const { index } of victims) kill(there[index]!.one, there[index]!.bytes, 'supervisor');
          killedInLook += victims.length;
        }
      }
      while (limits.parentBytes !== null && total() > limits.parentBytes) {
        const [largest] = alive().sort((a, b) => b.bytes - a.bytes || (a.one.name < b.one.name ? -1 : 1));
        kill(largest!.one, largest!.bytes, 'kernel');
      }
      if (total() > line.hardLimitBytes) overHardLimitMs++;
    }
  }
  return {
    kills: kills.map(({ text }) => text).sort(),
    peakTotalBytes,
    overHardLimitMs,
    ties,
  };
}

function containerOf({ trace, requestBytes }: Placement, series: number): One {
  const { runs, clock, usageBytes } = trace;
  const own = [...runs.series.keys()].filter((run) => runs.series[run] === series);
  return {
    name: trace.names[series]!,
    requestBytes: requestBytes[series]!,
    dead: false,
    runs: own.map((run) =>
      Array.from({ length: runs.count[run]! }, (_, at): readonly [number, number] => {
        const sample = runs.from[run]! + at;
        return [
          clock.kind === 'grid' ? (runs.firstColumn[run]! + at) * clock.stepMs : clock.timesMs[sample]!,
          usageBytes[sample]!,
        ];
      }),
    ),
  };
}

/** Whole bytes, linear between samples; undefined where the container is off. */
function usageAt({ runs }: One, atMs: number): number | undefined {
  for (const samples of runs) {
    for (const [index, [fromMs, from]] of samples.entries()) {
      if (fromMs === atMs) return from;
      const next = samples[index + 1];
      if (next && fromMs < atMs && atMs < next[0])
        return Math.round(from + (next[1] - from) * ((atMs - fromMs) / (next[0] - fromMs)));
    }
  }
  return undefined;
}
