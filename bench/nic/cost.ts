import { closeSync } from 'node:fs';
import { Datagrams, DATAGRAMS_A_CALL, EAGAIN } from '../../backends/linux/stream-calls.ts';
import {
  AF_INET,
  connectSocket,
  openSocket,
  refusalOf,
  SOCK_DGRAM,
  socketAddress,
} from '../../backends/linux/syscalls.ts';
import { parseAddress } from '../../src/host/ipv4.ts';
import type { PinnedThread } from '../pinned-thread.ts';
import type { NicPlace } from './place.ts';
import { FLOOD_PORT, insistOnFrames } from './sink.ts';

/** What of a flood may not arrive, or be somebody else's packet, and the figure still be one of this flood. */
const STRAY = 0.001;
/** A card that sends nothing for so long will not. */
const ROOM_WITHIN_NS = 10e9;

/** A place whose containers send from this very thread, so that all of a packet's way is paid by it. */
export class CostMeter {
  readonly #place: NicPlace;
  readonly #thread: PinnedThread;
  readonly #fds: readonly number[];

  constructor(place: NicPlace, thread: PinnedThread) {
    this.#place = place;
    this.#thread = thread;
    this.#fds = place.containers.map(({ namespace, target }) =>
      place.root.within(namespace, () => {
        const fd = openSocket(AF_INET, SOCK_DGRAM, 0);
        const refused = connectSocket(fd, socketAddress(parseAddress(target), FLOOD_PORT));
        if (refused < 0) throw new Error(`${target} cannot be sent to from ${namespace}: error ${-refused}`);
        return fd;
      }),
    );
  }

  /**
   * Microseconds of CPU of one packet, from the sender's system call to the sink, where so many containers send in turn.
   * @throws Error where packets are lost, or several count as one
   */
  async costUs(payloadBytes: number, containers: number, packets: number): Promise<number> {
    const datagrams = new Datagrams(payloadBytes);
    const fds = this.#fds.slice(0, containers);
    const before = await this.#place.sink.counts();
    const begunNs = this.#thread.spentNs();
    let sent = 0;
    for (let turn = 0; sent < packets; turn++) {
      const gone = datagrams.send(fds[turn % fds.length]!, DATAGRAMS_A_CALL);
      if (gone < 0) this.#insistPassing(-gone, begunNs);
      else sent += gone;
    }
    const tookNs = this.#thread.spentNs() - begunNs;
    const after = await this.#place.sink.counts();
    const { path } = this.#place;
    insistOnFrames(before, after, payloadBytes, path.name);
    const arrived = after.packets - before.packets;
    if (Math.abs(arrived - sent) > sent * STRAY)
      throw new Error(
        `${path.name}: of ${sent} packets ${arrived} came to the wire's other end: there is nothing to measure`,
      );
    return tookNs / 1000 / arrived;
  }

  /** Where a queue is full there is room again soon. @throws Error for anything else, and where there is not */
  #insistPassing(number: number, begunNs: number): void {
    if (number === EAGAIN && this.#thread.spentNs() - begunNs < ROOM_WITHIN_NS) return;
    const { message } = refusalOf(number, 'sendmmsg');
    throw new Error(`${this.#place.path.name}: ${message}: is every link of it up?`);
  }

  close(): void {
    for (const fd of this.#fds) closeSync(fd);
  }
}
