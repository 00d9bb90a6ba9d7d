import type { MemoryPolicy } from '../policy.ts';

/** Docker's default: `--memory` on each container. The kernel kills one as soon as it passes its own request. */
export const hardLimit: MemoryPolicy = {
  name: 'hard-limit',
  about: 'each container dies at its own request, whatever room the machine has',
  needs: [],
  limits: (requestBytes, line) => ({ parentBytes: line.ceilingBytes, childBytes: requestBytes }),
};
