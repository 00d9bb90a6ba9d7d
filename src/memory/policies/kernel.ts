import type { MemoryPolicy } from '../policy.ts';

/** Nobody decides: the parent's limit alone, and the kernel's OOM killer takes the largest process (mm/oom_kill.c). */
export const kernel: MemoryPolicy = {
  name: 'kernel',
  about: 'only the limit of all; at it the kernel kills the largest process',
  needs: [],
  limits: (requestBytes, line) => ({ parentBytes: line.ceilingBytes, childBytes: requestBytes.map(() => null) }),
};
