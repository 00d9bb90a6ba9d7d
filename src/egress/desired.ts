/** What one container may send. Plain data: the store keeps it as JSON. */
export interface EgressRequest {
  /** What it is given whatever the others want; nothing unless set. */
  readonly guaranteeBitsPerSec?: number;
  /**
   * More than this never leaves by the host, over all its networks; by a VF or a macvlan, which passes the host by, more than this
   * never leaves either. As much as the uplink carries unless set.
   */
  readonly ceilingBitsPerSec?: number;
  /** The ceiling holds for what stays on the host, too: each of its interfaces is shaped within its own namespace. */
  readonly everywhere?: boolean;
}

/** What is asked of a host's uplink. */
export interface EgressDesired {
  /** What the uplink carries; guarantees need to know it. */
  readonly uplinkBitsPerSec?: number;
  /** What becomes of guarantees that add up to more than the uplink carries: `refuse` unless set. */
  readonly overcommit?: 'refuse' | 'warn';
}

/** What is asked cannot be kept; `about` is the container or the uplink. */
export class EgressError extends Error {
  override readonly name = 'EgressError';
  readonly about: string;

  constructor(about: string, message: string) {
    super(`${about}: ${message}`);
    this.about = about;
  }
}
