import { closeSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { withinFile } from '../../backends/linux/netns.ts';
import { EAGAIN } from '../../backends/linux/stream-calls.ts';
import {
  AF_INET,
  connectSocket,
  openSocket,
  refusalOf,
  setOption,
  SOCK_DGRAM,
  SOCK_STREAM,
  socketAddress,
} from '../../backends/linux/syscalls.ts';
import { parseAddress } from '../../src/host/ipv4.ts';
import {
  IPPROTO_TCP,
  limitWaiting,
  receiveWaiting,
  restOn,
  sendWaiting,
  stayOn,
  TCP_NODELAY,
  wakeInTime,
} from './calls.ts';
import { answer, CHANNEL, isAsked, readLine } from './channel.ts';
import { Latencies } from './latencies.ts';
import type { AskOrder, Asked } from './packet-order.ts';

/** Who has not answered within this does not. */
const ANSWER_WITHIN_MS = 1000;
const WARM_UP_ASKS = 5;
/** Between two looks at the channel. */
const LOOK_EVERY_MS = 20;
const ECONNREFUSED = 111;

const nowUs = (): number => Number(process.hrtime.bigint()) / 1000;

/** It measures: on a busy machine it would measure how long it had to wait for a CPU. Without the right, as it is. */
export function comeFirst(): void {
  try {
    setPriority(constants.priority.PRIORITY_HIGHEST + 5);
  } catch {
    // It works without, only less surely.
  }
}

/** Asks, and waits for the answer, until it is told to stop. */
export function ask(order: AskOrder, begun: () => void): void {
  comeFirst();
  if (order.cpu !== undefined) stayOn(order.cpu);
  wakeInTime();
  const asker = new Asker(order);
  try {
    insistAnswered(asker, order);
    begun();
    readLine();
    answer({});
    answer(askUntilTold(asker, order.asksPerSec));
  } finally {
    asker.close();
  }
}

/** The first ask for the neighbours' addresses, and may be lost for it. @throws Error where nobody answers */
function insistAnswered(asker: Asker, { target, protocol, port }: AskOrder): void {
  for (let time = 0; time < WARM_UP_ASKS; time++) if (asker.ask()) return;
  throw new Error(`nobody answers at ${target} ${protocol} port ${port}`);
}

function askUntilTold(asker: Asker, asksPerSec: number | undefined): Asked {
  const latencies = new Latencies();
  const everyUs = asksPerSec === undefined ? 0 : 1e6 / asksPerSec;
  const begunUs = nowUs();
  let lost = 0;
  let lookUs = begunUs;
  for (;;) {
    const askedUs = nowUs();
    const isAnswered = asker.ask();
    const thenUs = nowUs();
    if (isAnswered) latencies.add(thenUs - askedUs);
    else lost += 1;
    const restMs = (askedUs + everyUs - thenUs) / 1000;
    const isLook = restMs > 0 || thenUs - lookUs > LOOK_EVERY_MS * 1000;
    if (!isLook) continue;
    lookUs = thenUs;
    if (restMs > 0 ? !restOn(CHANNEL.fd, restMs) : !isAsked()) continue;
    readLine();
    const tookMs = (nowUs() - begunUs) / 1000;
    return { transactions: latencies.count, lost, tookMs, latencies: latencies.slots(), maxUs: latencies.maxUs };
  }
}

/** One who asks with so many bytes, and is answered with as many. */
class Asker {
  readonly #fd: number;
  readonly #isUdp: boolean;
  readonly #request: Buffer;
  readonly #response: Buffer;
  #number = 0;

  constructor({ namespaceFile, protocol, target, port, payloadBytes }: AskOrder) {
    this.#isUdp = protocol === 'udp';
    this.#request = Buffer.alloc(payloadBytes);
    this.#response = Buffer.alloc(payloadBytes);
    const type = this.#isUdp ? SOCK_DGRAM : SOCK_STREAM;
    this.#fd = withinFile(namespaceFile, () => openSocket(AF_INET, type, 0, true));
    limitWaiting(this.#fd, ANSWER_WITHIN_MS);
    if (!this.#isUdp) setOption(this.#fd, IPPROTO_TCP, TCP_NODELAY, 1);
    const refused = connectSocket(this.#fd, socketAddress(parseAddress(target), port));
    if (refused < 0) throw refusalOf(-refused, `connect to ${target} ${protocol} port ${port}`);
  }

  /** @returns whether it was answered in time; of TCP it is, or the connection is lost @throws Refusal */
  ask(): boolean {
    // An answer that comes late is not taken for the next one's, unless 255 came between.
    this.#number = (this.#number + 1) % 256;
    this.#request[0] = this.#number;
    const sent = sendWaiting(this.#fd, this.#request);
    // The last one found nobody there, or none of them gets out.
    if (this.#isUdp && (sent === -ECONNREFUSED || sent === -EAGAIN)) return false;
    if (sent < 0) throw refusalOf(-sent, 'send');
    return this.#isUdp ? this.#isDatagramAnswered() : this.#isStreamAnswered();
  }

  #isDatagramAnswered(): boolean {
    for (;;) {
      const length = receiveWaiting(this.#fd, this.#response);
      if (length === -EAGAIN || length === -ECONNREFUSED) return false;
      if (length < 0) throw refusalOf(-length, 'recv');
      if (this.#response[0] === this.#number) return true;
    }
  }

  #isStreamAnswered(): boolean {
    for (let rest = this.#response; rest.length > 0;) {
      const length = receiveWaiting(this.#fd, rest);
      if (length === 0) throw new Error('the sink has closed the connection');
      if (length < 0) throw refusalOf(-length, 'recv');
      rest = rest.subarray(length);
    }
    return true;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
