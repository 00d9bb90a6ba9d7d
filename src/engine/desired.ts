import type { EgressDesired, EgressRequest } from '../egress/desired.ts';
import type { Workload } from '../host/workload.ts';
import type { MemoryDesired, MemoryRequest } from '../memory/desired.ts';
import type { Attachment, NetworkDesired } from '../network/desired.ts';
import type { PlacedContainer } from '../network/resolve.ts';

/** A container as it was asked for. */
export interface DesiredContainer extends MemoryRequest {
  readonly workload: Workload;
  /** Its interfaces, eth0 first; a container without any shares the host's own network. */
  readonly attachments?: readonly Attachment[];
  /** What it may send; without it, what the host's other packets leave. */
  readonly egress?: EgressRequest;
}

/** Whoever is run by somebody else, and attached to networks. */
export interface DesiredEndpoint extends PlacedContainer {
  readonly egress?: EgressRequest;
}

/** All that is asked of one host. Plain data: the store keeps it as JSON. A container that has ended is not started again. */
export interface Desired {
  /** Null: memory is not Plimsoll's business on this host. */
  readonly memory: MemoryDesired | null;
  readonly network?: NetworkDesired;
  readonly egress?: EgressDesired;
  /** Whoever is attached to networks and run by somebody else, in a namespace of its own or by its name. */
  readonly endpoints?: readonly DesiredEndpoint[];
  readonly containers: readonly DesiredContainer[];
}
