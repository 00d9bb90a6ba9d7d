import type { HostError } from './errors.ts';

/**
 * What became of a batch. A batch is not atomic: the first `applied` targets, in the order given, took effect; where
 * `error` is set, the target after them is the one that failed and the rest were not tried.
 */
export interface Applied {
  readonly applied: number;
  readonly error?: HostError;
}
