import type { Workload } from '../host/workload.ts';
import type { MemoryDesired, MemoryRequest } from '../memory/desired.ts';

/** A container as it was asked for. */
export interface DesiredContainer extends MemoryRequest {
  readonly workload: Workload;
}

/** All that is asked of one host. Plain data: the store keeps it as JSON. A container that has ended is not started again. */
export interface Desired {
  readonly memory: MemoryDesired;
  readonly containers: readonly DesiredContainer[];
}
