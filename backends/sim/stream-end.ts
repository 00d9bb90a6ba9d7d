import type { Space } from './network.ts';
import { ETHERNET_BYTES } from './qdisc.ts';

/** Where streams may end, and what came there. */
export class StreamEnd {
  readonly space: Space;
  readonly protocol: number;
  readonly port: number;
  wireBytes = 0;
  /** Why nobody can tell what came; null: it is known. */
  unknown: string | null = null;
  isClosed = false;

  constructor(space: Space, protocol: number, port: number) {
    this.space = space;
    this.protocol = protocol;
    this.port = port;
  }

  /** Packets came whose IP part has so many bytes. */
  take(packets: number, bytes: number): void {
    this.wireBytes += packets * (bytes + ETHERNET_BYTES);
  }
}
