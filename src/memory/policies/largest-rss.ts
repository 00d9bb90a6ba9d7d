import { formatBytes } from '../../host/units.ts';
import type { MemoryPolicy } from '../policy.ts';
import { first } from '../rank.ts';

/** earlyoom's default `-m 10`: it acts when less than this share of memory is available (earlyoom(1)). */
const FREE_SHARE = 0.1;

/** earlyoom's way: below 10 % free the largest anonymous memory dies, requests or not. */
export const largestRss: MemoryPolicy = {
  name: 'largest-rss',
  about: 'below 10 % free the largest dies (earlyoom)',
  needs: ['rss'],
  limits: (requestBytes, line) => ({ parentBytes: line.ceilingBytes, childBytes: requestBytes.map(() => null) }),
  actsAboveBytes: (line) => line.hardLimitBytes * (1 - FREE_SHARE),
  decide(snapshot) {
    const { line, totalBytes, names, rssBytes } = snapshot;
    if (totalBytes <= line.hardLimitBytes * (1 - FREE_SHARE)) return [];
    const index = first(snapshot, (a, b) => rssBytes[b]! - rssBytes[a]! || (names[a]! < names[b]! ? -1 : 1));
    if (index < 0 || rssBytes[index] === 0) return [];
    return [
      {
        index,
        reason: `total ${formatBytes(totalBytes)} leaves less than 10 % free; largest: ${formatBytes(rssBytes[index]!)}`,
      },
    ];
  },
};
