import { formatBytes, MIB } from '../../host/units.ts';
import type { MemoryLine } from '../../host/supervision.ts';
import type { MemoryPolicy } from '../policy.ts';
import { first } from '../rank.ts';

/**
 * The kubelet evicts below `memory.available` 100Mi (its default hard threshold on Linux). A machine scaled down for a
 * scenario would always be below that: there, 5 % of the hard limit, as kube-reserved is usually sized.
 */
const thresholdBytes = ({ hardLimitBytes }: MemoryLine): number =>
  hardLimitBytes - Math.min(100 * MIB, hardLimitBytes * 0.05);

/** The kubelet's node-pressure eviction: those over their request first, then lower priority, then the amount over. */
export const kubelet: MemoryPolicy = {
  name: 'kubelet',
  about: 'below 100 MiB available: over request first, then priority, then amount over (Kubernetes eviction)',
  needs: ['workingSet', 'priority'],
  limits: (requestBytes, line) => ({ parentBytes: line.ceilingBytes, childBytes: requestBytes.map(() => null) }),
  actsAboveBytes: thresholdBytes,
  decide(snapshot) {
    const { line, totalBytes, names, requestBytes, workingSetBytes, priority } = snapshot;
    if (totalBytes <= thresholdBytes(line)) return [];
    const over = (index: number): number => workingSetBytes[index]! - requestBytes[index]!;
    const index = first(
      snapshot,
      (a, b) =>
        Number(over(b) > 0) - Number(over(a) > 0) ||
        priority[a]! - priority[b]! ||
        over(b) - over(a) ||
        (names[a]! < names[b]! ? -1 : 1),
    );
    if (index < 0) return [];
    const amount = over(index);
    const standing =
      amount > 0 ? `over its request by ${formatBytes(amount)}` : `within its request by ${formatBytes(-amount)}`;
    return [
      {
        index,
        reason: `total ${formatBytes(totalBytes)} is past the eviction threshold; priority ${priority[index]}, ${standing}`,
      },
    ];
  },
};
