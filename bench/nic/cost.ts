import { closeSync } from 'node:fs';
import { Datagrams, DATAGRAMS_A_CALL, EAGAIN, waitFor } from '../../backends/linux/stream-calls.ts';
import { AF_INET, openSocket, refusalOf, SOCK_DGRAM, socketAddress } from '../../backends/linux/syscalls.ts';
import { parseAddress } from '../../src/host/ipv4.ts';
import type { PinnedThread } from '../pinned-thread.ts';
import type { NicPlace } from './place.ts';
import { FLOOD_PORT, insistOnFrames } from './sink.ts';

/** What of a flood may not arrive, or be somebody else's packet, and the figure still be one of this flood. */
const STRAY = 0.001;
/** A card that sends nothing for so long will not. */
const ROOM_WITHIN_MS = 10_000;

/** A place whose containers send from this very thread, so that all of a packet's way is paid by it. */
export class CostMeter {
  readonly #place: NicPlace;
  readonly #thread: PinnedThread;
  readonly #fds: readonly number[];

  constructor(place: NicPlace, thread: PinnedThread) {
    this.#place = place;
    this.#thread = thread;
    this.#fds = place.containers.map(({ namespace }) =>
      place.root.within(namespace, () => openSocket(AF_INET, SOCK_DGRAM, 0)),
    );
  }

  /**
   * Microseconds of CPU of one packet, from the sender's system call to the sink, where so many containers send in turn.
   * @throws Error where packets are lost on a wire of the machine's own, or several count as one
   */
  async costUs(payloadBytes: number, containers: number, packets: number): Promise<number> {
    const senders = this.#place.containers.slice(0, containers).map(({ target }, index) => ({
      fd: this.#fds[index]!,
      // Each names where it goes, as those of a server do that answers many.
      datagrams: new Datagrams(payloadBytes, socketAddress(parseAddress(target), FLOOD_PORT)),
    }));
    const before = await this.#place.sink.counts();
    const begunNs = this.#thread.spentNs();
    let sent = 0;
    let waitedNs = 0;
    for (let turn = 0; sent < packets; turn++) {
      const { fd, datagrams } = senders[turn % senders.length]!;
      const gone = datagrams.send(fd, DATAGRAMS_A_CALL);
      if (gone < 0) waitedNs += this.#waitForRoom(-gone, fd);
      else sent += gone;
    }
    const tookNs = this.#thread.spentNs() - begunNs - waitedNs;
    const after = await this.#place.sink.counts();
    const { path, isWhole } = this.#place;
    insistOnFrames(before, after, payloadBytes, path.name);
    const arrived = after.packets - before.packets;
    if (arrived <= 0 || (isWhole && Math.abs(arrived - sent) > sent * STRAY))
      throw new Error(
        `${path.name}: of ${sent} packets ${arrived} came to the wire's other end: there is nothing to measure`,
      );
    return tookNs / 1000 / (isWhole ? arrived : sent);
  }

  /**
   * Where a queue is full a card is slower than its sender: that is no CPU of anybody's. @returns how long it took
   * @throws Error for anything else, and where there is no room for long
   */
  #waitForRoom(number: number, fd: number): number {
    const { name } = this.#place.path;
    if (number !== EAGAIN)
      throw new Error(`${name}: ${refusalOf(number, 'sendmmsg').message}: is every link of it up?`);
    const begunNs = this.#thread.spentNs();
    if (!waitFor([{ fd, to: 'write' }], ROOM_WITHIN_MS).has(fd))
      throw new Error(`${name}: nothing leaves for ${ROOM_WITHIN_MS / 1000} s: is every link of it up?`);
    return this.#thread.spentNs() - begunNs;
  }

  close(): void {
    for (const fd of this.#fds) closeSync(fd);
  }
}
