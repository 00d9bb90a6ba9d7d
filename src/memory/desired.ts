import type { MemoryLine, PolicyReference } from '../host/supervision.ts';
import type { Bytes } from '../host/units.ts';

/** How a machine's memory is to be oversold. Plain data: the store keeps it as JSON. */
export interface MemoryDesired {
  readonly policy: PolicyReference;
  readonly line: MemoryLine;
  /** Decide and record, but do not kill. */
  readonly dry: boolean;
}

/** What one container asks of memory. */
export interface MemoryRequest {
  readonly name: string;
  readonly requestBytes: Bytes;
  /** Larger is more important (Kubernetes' sense); 0 where nobody said. */
  readonly priority: number;
}
