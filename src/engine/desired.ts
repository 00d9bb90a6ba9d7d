import type { MemoryLine, PolicyReference } from '../host/supervision.ts';
import type { Bytes } from '../host/units.ts';
import type { Workload } from '../host/workload.ts';

/** A container as it was asked for. */
export interface DesiredContainer {
  readonly name: string;
  readonly requestBytes: Bytes;
  readonly priority: number;
  readonly workload: Workload;
}

/** How a machine's memory is to be oversold. */
export interface DesiredMemory {
  readonly policy: PolicyReference;
  readonly line: MemoryLine;
  readonly dry: boolean;
}

/** All that is asked of one host. Plain data: the store keeps it as JSON. A container that has ended is not started again. */
export interface Desired {
  readonly memory: DesiredMemory;
  readonly containers: readonly DesiredContainer[];
}
