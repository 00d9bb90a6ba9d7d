import { closeSync } from 'node:fs';
import { pause } from '../backends/linux/clock.ts';
import { Datagrams, DATAGRAMS_A_CALL } from '../backends/linux/stream-calls.ts';
import { AF_INET, connectSocket, openSocket, SOCK_DGRAM, socketAddress } from '../backends/linux/syscalls.ts';
import { parseAddress } from '../src/host/ipv4.ts';
import { type EgressPlace, NOBODY } from './egress-place.ts';
import type { PinnedThread } from './pinned-thread.ts';

/** Small: the cost of a packet hardly depends on its size, and what it carries is not what is measured. */
const PAYLOAD_BYTES = 64;
/** The discard service (RFC 863), should anybody listen. */
const PORT = 9;

/** A socket in a place's first container. */
export class Load {
  readonly #place: EgressPlace;
  readonly #thread: PinnedThread;
  readonly #fd: number;
  readonly #datagrams = new Datagrams(PAYLOAD_BYTES);

  constructor(place: EgressPlace, thread: PinnedThread) {
    this.#place = place;
    this.#thread = thread;
    this.#fd = place.root.within(place.containers[0]!.name, () => openSocket(AF_INET, SOCK_DGRAM, 0));
    const refused = connectSocket(this.#fd, socketAddress(parseAddress(NOBODY), PORT));
    if (refused < 0)
      throw new Error(`${NOBODY} cannot be sent to from ${place.containers[0]!.name}: error ${-refused}`);
  }

  /** Microseconds of CPU that a packet takes to the uplink's other end. @throws Error where packets are lost on the way */
  costUs(packets: number): number {
    const arrived = this.#place.wirePackets();
    const begunNs = this.#thread.spentNs();
    let sent = 0;
    while (sent < packets) sent += Math.max(0, this.#datagrams.send(this.#fd, DATAGRAMS_A_CALL));
    const tookNs = this.#thread.spentNs() - begunNs;
    const delivered = this.#place.wirePackets() - arrived;
    // A question for a neighbour's address may be among them.
    if (Math.abs(delivered - sent) > sent / 1000)
      throw new Error(`of ${sent} packets ${delivered} came to the wire: there is nothing to measure`);
    return tookNs / 1000 / delivered;
  }

  /** The first asks for the gateway's address, and waits for the answer; those behind it get no room. */
  warmUp(): void {
    for (let time = 0; time < 10; time++) {
      this.#datagrams.send(this.#fd, 1);
      pause(5);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
