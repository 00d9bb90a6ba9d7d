import type { Observation } from '../engine/observation.ts';

/** A container that was killed, by Plimsoll or by the kernel; `atMs` of the kernel's is when it was noticed. */
export interface Kill {
  readonly atMs: number;
  readonly host?: string;
  readonly container: string;
  readonly cause: 'supervisor' | 'kernel';
  /** How far it stood over its request; null where nobody measured: the kernel does not say. */
  readonly overBytes: number | null;
  readonly reason: string;
}

/** Everybody who was killed, in order. */
export function killsOf(observations: readonly Observation[]): Kill[] {
  const kills: Kill[] = [];
  for (const observation of observations) {
    const host = observation.host === undefined ? {} : { host: observation.host };
    if (observation.kind === 'decision' && observation.outcome === 'killed') {
      const { atMs, container, workingSetBytes, requestBytes, reason } = observation;
      kills.push({ atMs, ...host, container, cause: 'supervisor', overBytes: workingSetBytes - requestBytes, reason });
    } else if (observation.kind === 'death' && observation.cause === 'kernel') {
      const { atMs, container } = observation;
      const reason = "the kernel's OOM killer took it, at a limit of its cgroup or of all";
      kills.push({ atMs, ...host, container, cause: 'kernel', overBytes: null, reason });
    }
  }
  return kills.toSorted((a, b) => a.atMs - b.atMs);
}
