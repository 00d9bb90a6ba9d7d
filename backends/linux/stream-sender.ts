import { monotonicMs } from './clock.ts';
import { withinFile } from './netns.ts';
import { type Awaited, Datagrams, DATAGRAMS_A_CALL, EAGAIN, errorOf, offerBytes } from './stream-calls.ts';
import type { SendOrder } from './stream-order.ts';
import { AF_INET, connectSocket, openSocket, refusalOf, SOCK_DGRAM, SOCK_STREAM, socketAddress } from './syscalls.ts';
import { parseAddress } from '../../src/host/ipv4.ts';
import { STREAM_PAYLOAD_BYTES, STREAM_PAYLOAD_BYTES_MAX } from '../../src/host/probes.ts';
import { Refusal } from './errors.ts';

const UDP_HEADERS_BYTES = 14 + 20 + 8;
/** Between two looks at others: as fast as it goes must not mean nobody else. */
const CALLS_IN_A_TURN = 8;
/** What was not sent because the process did not run is made up for, but for so much. */
const BEHIND_MAX_MS = 50;
const EINPROGRESS = 115;
const chunk = Buffer.alloc(256 * 1024, 1);

/** One stream under way. */
export interface Sender {
  /** Is it connected? Of UDP from the beginning. @throws Refusal EHOSTUNREACH */
  isReady(): boolean;
  /** What it waits for before it can send more; null: nothing. */
  awaited(): Awaited | null;
  /** How long until it has something to send. */
  restMs(nowMs: number): number;
  /** Sends what is due. @returns false when it is over */
  push(nowMs: number): boolean;
}

/** @throws Refusal ENODEV, EHOSTUNREACH, EINVAL */
export function openSender(order: SendOrder): Sender {
  const { namespaceFile, protocol, to, port, payloadBytes = STREAM_PAYLOAD_BYTES, rateBitsPerSec } = order;
  if (payloadBytes < 1 || payloadBytes > STREAM_PAYLOAD_BYTES_MAX)
    throw new Refusal(
      'EINVAL',
      `a datagram holds 1 to ${STREAM_PAYLOAD_BYTES_MAX} bytes, not ${payloadBytes}`,
      undefined,
    );
  if (rateBitsPerSec !== undefined && !(rateBitsPerSec > 0))
    throw new Refusal('EINVAL', `a rate is above 0, not ${rateBitsPerSec}`, undefined);
  const isUdp = protocol === 'udp';
  const fd = withinFile(namespaceFile, () => openSocket(AF_INET, isUdp ? SOCK_DGRAM : SOCK_STREAM, 0));
  const refused = connectSocket(fd, socketAddress(parseAddress(to), port));
  if (refused < 0 && refused !== -EINPROGRESS) throw unreachable(-refused);
  return isUdp ? new DatagramSender(fd, payloadBytes, rateBitsPerSec) : new ConnectionSender(fd);
}

const unreachable = (number: number): Refusal =>
  new Refusal('EHOSTUNREACH', refusalOf(number, 'connect').message, undefined);

class DatagramSender implements Sender {
  readonly #fd: number;
  readonly #datagrams: Datagrams;
  /** How long one takes at the rate asked for; 0: as fast as it goes. */
  readonly #everyMs: number;
  #nextMs = monotonicMs();
  #isFull = false;

  constructor(fd: number, payloadBytes: number, rateBitsPerSec: number | undefined) {
    this.#fd = fd;
    this.#datagrams = new Datagrams(payloadBytes);
    this.#everyMs = rateBitsPerSec === undefined ? 0 : ((payloadBytes + UDP_HEADERS_BYTES) * 8000) / rateBitsPerSec;
  }

  isReady(): boolean {
    return true;
  }

  awaited(): Awaited | null {
    return this.#isFull ? { fd: this.#fd, to: 'write' } : null;
  }

  restMs(nowMs: number): number {
    return this.#everyMs === 0 ? 0 : Math.max(0, this.#nextMs - nowMs);
  }

  push(nowMs: number): boolean {
    this.#nextMs = Math.max(this.#nextMs, nowMs - BEHIND_MAX_MS);
    const most = DATAGRAMS_A_CALL * CALLS_IN_A_TURN;
    let due = this.#everyMs === 0 ? most : Math.min(most, Math.floor((nowMs - this.#nextMs) / this.#everyMs) + 1);
    this.#isFull = false;
    while (due > 0) {
      const sent = this.#datagrams.send(this.#fd, Math.min(due, DATAGRAMS_A_CALL));
      this.#isFull = sent === -EAGAIN;
      if (this.#isFull) break;
      // What nobody listens to (ECONNREFUSED) or a filter takes (EPERM) counts as sent: the next may arrive.
      const gone = Math.max(1, sent);
      due -= gone;
      this.#nextMs += gone * this.#everyMs;
    }
    return true;
  }
}

class ConnectionSender implements Sender {
  readonly #fd: number;
  #isConnected = false;
  #isFull = true;

  constructor(fd: number) {
    this.#fd = fd;
  }

  isReady(): boolean {
    const error = errorOf(this.#fd);
    if (error !== 0) throw unreachable(error);
    const sent = this.#isConnected ? 0 : offerBytes(this.#fd, chunk);
    this.#isConnected ||= sent > 0;
    if (!this.#isConnected && sent !== -EAGAIN) throw unreachable(-sent);
    return this.#isConnected;
  }

  awaited(): Awaited | null {
    return this.#isFull ? { fd: this.#fd, to: 'write' } : null;
  }

  restMs(): number {
    return 0;
  }

  push(): boolean {
    const sent = offerBytes(this.#fd, chunk);
    this.#isFull = sent !== chunk.length;
    return sent > 0 || sent === -EAGAIN;
  }
}
