import { formatBytes } from '../../host/units.ts';
import type { MemoryPolicy, Snapshot } from '../policy.ts';

/**
 * The seed's rule: one hard limit for all. Nobody dies, however far over its request, until the total has passed
 * `killAt`; then the one furthest over its request, until the total is at or below `stopAt`. Ties: larger usage, then name.
 */
export const gaia: MemoryPolicy = {
  name: 'gaia',
  about: 'one hard limit for all; past it the container furthest over its request dies',
  needs: ['workingSet'],
  limits: (requestBytes, line) => ({ parentBytes: line.ceilingBytes, childBytes: requestBytes.map(() => null) }),
  actsAboveBytes: (line) => Math.min(line.killAtBytes, line.stopAtBytes),
  decide(snapshot) {
    const { line, totalBytes, killedInLook } = snapshot;
    if (totalBytes <= (killedInLook > 0 ? line.stopAtBytes : line.killAtBytes)) return [];
    const worst = furthestOver(snapshot);
    if (worst < 0) return [];
    const over = snapshot.workingSetBytes[worst]! - snapshot.requestBytes[worst]!;
    const past =
      killedInLook > 0
        ? `still above stopAt ${formatBytes(line.stopAtBytes)}`
        : `past killAt ${formatBytes(line.killAtBytes)}`;
    return [
      {
        index: worst,
        reason: `total ${formatBytes(totalBytes)} is ${past}; furthest over its request: by ${formatBytes(over)}`,
      },
    ];
  },
};

function furthestOver({ count, names, requestBytes, workingSetBytes, killable }: Snapshot): number {
  let worst = -1;
  let worstOver = 0;
  for (let index = 0; index < count; index++) {
    if (killable[index] === 0) continue;
    const over = workingSetBytes[index]! - requestBytes[index]!;
    if (over <= 0 || over < worstOver) continue;
    if (worst < 0 || over > worstOver || precedes(index, worst, workingSetBytes, names)) {
      worst = index;
      worstOver = over;
    }
  }
  return worst;
}

const precedes = (a: number, b: number, workingSetBytes: Float64Array, names: readonly string[]): boolean =>
  workingSetBytes[a] === workingSetBytes[b] ? names[a]! < names[b]! : workingSetBytes[a]! > workingSetBytes[b]!;
