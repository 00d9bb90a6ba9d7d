import { closeSync } from 'node:fs';
import { monotonicMs } from '../../backends/linux/clock.ts';
import { withinFile } from '../../backends/linux/netns.ts';
import { Datagrams, DATAGRAMS_A_CALL, EAGAIN, waitFor } from '../../backends/linux/stream-calls.ts';
import {
  AF_INET,
  connectSocket,
  openSocket,
  refusalOf,
  setOption,
  SOCK_DGRAM,
  socketAddress,
} from '../../backends/linux/syscalls.ts';
import { parseAddress } from '../../src/host/ipv4.ts';
import { restOn, SOL_UDP, stayOn, UDP_SEGMENT, wakeInTime } from './calls.ts';
import { answer, CHANNEL, isAsked, readLine } from './channel.ts';
import type { FloodOrder, Sent } from './packet-order.ts';

/** At a pace so much is waited for before a call is made for it. */
const BURST_EVERY_MS = 0.1;
/** For less it is not worth to go to sleep: waking up takes longer. */
const SLEEP_LEAST_MS = 0.03;
/** At the channel, where there is no sleeping. */
const LOOK_EVERY_MS = 20;
/** What was not sent because the thread did not run is made up for, but for so much. */
const BEHIND_MAX_MS = 50;
/** Without a pace: between two looks at the channel. */
const CALLS_IN_A_TURN = 16;
const IDLE_MS = 1000;

/** No room in a queue, a filter, nobody listens: the next may go. Anything else ends the flood (include/uapi/asm-generic/errno.h). */
const ENOBUFS = 105;
const EPERM = 1;
const ECONNREFUSED = 111;
const PASSING = new Set([ENOBUFS, EPERM, ECONNREFUSED]);

/** Sends what is ordered until it is told to stop. */
export function flood(order: FloodOrder, begun: () => void): void {
  stayOn(order.cpu);
  wakeInTime();
  const socket = new FloodSocket(order);
  try {
    begun();
    readLine();
    answer({});
    if (order.packetsPerSec === undefined) sendFreely(socket);
    else sendAtPace(socket, order.packetsPerSec, order.segments ?? 1);
    answer(socket.sent());
  } finally {
    socket.close();
  }
}

/** Nothing but `count` and `stop` is said meanwhile. @returns whether to go on */
function attend(socket: FloodSocket): boolean {
  if (readLine() === 'stop') return false;
  answer(socket.sent());
  return true;
}

function sendFreely(socket: FloodSocket): void {
  for (;;) {
    for (let time = 0; time < CALLS_IN_A_TURN; time++) socket.send(DATAGRAMS_A_CALL);
    if (isAsked() && !attend(socket)) return;
  }
}

/**
 * What is due goes out some ten thousand times a second, at most a call's at once: what the thread was kept from sending is made
 * up for at no more than twice the pace.
 */
function sendAtPace(socket: FloodSocket, packetsPerSec: number, segments: number): void {
  const eachMs = 1000 / packetsPerSec;
  const waitedFor = Math.min(DATAGRAMS_A_CALL, Math.ceil(BURST_EVERY_MS / eachMs));
  let lookMs = 0;
  for (let nextMs = monotonicMs(); ;) {
    const nowMs = monotonicMs();
    nextMs = Math.max(nextMs, nowMs - BEHIND_MAX_MS);
    const due = Math.floor((nowMs - nextMs) / eachMs) + 1;
    const count = Math.min(DATAGRAMS_A_CALL, Math.ceil(Math.max(0, due) / segments) * segments);
    if (count > 0) socket.send(count);
    nextMs += count * eachMs;
    const wakeMs = Math.max(nextMs + (waitedFor - 1) * eachMs, nowMs + (count * eachMs) / 2);
    const thenMs = monotonicMs();
    if (wakeMs - thenMs < SLEEP_LEAST_MS && thenMs - lookMs < LOOK_EVERY_MS) {
      while (monotonicMs() < wakeMs);
      continue;
    }
    lookMs = thenMs;
    if (restOn(CHANNEL.fd, Math.max(0, wakeMs - thenMs)) && !attend(socket)) return;
  }
}

/** A connected socket in the container's namespace. */
class FloodSocket {
  readonly #fd: number;
  readonly #segments: number;
  readonly #datagrams: Datagrams;
  #packets = 0;
  #refused = 0;

  constructor({ namespaceFile, target, port, payloadBytes, segments = 1 }: FloodOrder) {
    this.#fd = withinFile(namespaceFile, () => openSocket(AF_INET, SOCK_DGRAM, 0));
    if (segments > 1) setOption(this.#fd, SOL_UDP, UDP_SEGMENT, payloadBytes);
    this.#segments = segments;
    this.#datagrams = new Datagrams(payloadBytes * segments);
    const refused = connectSocket(this.#fd, socketAddress(parseAddress(target), port));
    if (refused < 0) throw refusalOf(-refused, `connect to ${target}`);
  }

  /** Sends so many datagrams, at most a call's, waiting for room where there is none. */
  send(count: number): void {
    const sent = this.#datagrams.send(this.#fd, count / this.#segments);
    if (sent > 0) this.#packets += sent * this.#segments;
    else if (sent === -EAGAIN) waitFor([CHANNEL, { fd: this.#fd, to: 'write' }], IDLE_MS);
    else if (PASSING.has(-sent)) this.#refused += this.#segments;
    else throw refusalOf(-sent, 'sendmmsg');
  }

  sent(): Sent {
    return { packets: this.#packets, refused: this.#refused };
  }

  close(): void {
    closeSync(this.#fd);
  }
}
