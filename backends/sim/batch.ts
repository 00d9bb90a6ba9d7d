import type { Applied } from '../../src/host/batch.ts';
import { HostError } from '../../src/host/errors.ts';

/** Applies to each target in order; the first refusal ends the batch. */
export async function inOrder<T>(targets: readonly T[], apply: (target: T) => void | Promise<void>): Promise<Applied> {
  for (const [applied, target] of targets.entries()) {
    try {
      const pending = apply(target);
      // Nothing waits that need not: a batch takes effect within the call, as one system call does.
      if (pending !== undefined) await pending;
    } catch (error) {
      if (error instanceof HostError) return { applied, error };
      throw error;
    }
  }
  return { applied: targets.length };
}
