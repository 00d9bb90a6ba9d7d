import { formatBytes } from '../../host/units.ts';
import type { MemoryPolicy } from '../policy.ts';
import { first } from '../rank.ts';

/**
 * The seed's rule: one hard limit for all. Nobody dies, however far over its request, until the total has passed
 * `killAt`; then the one furthest over its request, until the total is at or below `stopAt`. Ties: larger usage, then name.
 */
export const gaia: MemoryPolicy = {
  name: 'gaia',
  about: 'one hard limit for all; past it the container furthest over its request dies',
  needs: ['excess'],
  monotone: true,
  limits: (requestBytes, line) => ({ parentBytes: line.ceilingBytes, childBytes: requestBytes.map(() => null) }),
  actsAboveBytes: (line) => line.killAtBytes,
  decide(snapshot) {
    const { line, totalBytes, killedInLook, names, requestBytes, workingSetBytes } = snapshot;
    if (totalBytes <= (killedInLook > 0 ? line.stopAtBytes : line.killAtBytes)) return [];
    const over = (index: number): number => workingSetBytes[index]! - requestBytes[index]!;
    const index = first(
      snapshot,
      (a, b) => over(b) - over(a) || workingSetBytes[b]! - workingSetBytes[a]! || (names[a]! < names[b]! ? -1 : 1),
    );
    if (index < 0 || over(index) <= 0) return [];
    const past =
      killedInLook > 0
        ? `still above stopAt ${formatBytes(line.stopAtBytes)}`
        : `past killAt ${formatBytes(line.killAtBytes)}`;
    return [
      {
        index,
        reason: `total ${formatBytes(totalBytes)} is ${past}; furthest over its request: by ${formatBytes(over(index))}`,
      },
    ];
  },
};
