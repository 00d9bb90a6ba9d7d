// Streams of packets, sent or received, in as many namespaces as are named. A process of its own: it has to be as fast as the
// kernel, and its reader must not wait for it. It ends with the channel, and so with whoever started it, however that ends.
import { readSync, writeSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { monotonicMs } from '../../backends/linux/clock.ts';
import { hostError, Refusal } from '../../backends/linux/errors.ts';
import { type Awaited, waitFor } from '../../backends/linux/stream-calls.ts';
import type { StreamAnswer, StreamOrder } from '../../backends/linux/stream-order.ts';
import { openReceiver } from '../../backends/linux/stream-receiver.ts';
import { openSender, type Sender } from '../../backends/linux/stream-sender.ts';

const CHANNEL: Awaited = { fd: 3, to: 'read' };
/** Who does not answer a connection within this is not there. */
const CONNECT_WITHIN_MS = 10_000;
const IDLE_MS = 1000;

comeFirst();
const order = JSON.parse(readLine()) as StreamOrder;
if (order.work === 'receive') receive(openAll(order.orders, openReceiver));
else send(openAll(order.orders, openSender));

/** It measures: on a busy machine it would measure how long it had to wait for a CPU. Without the right, as it is. */
function comeFirst(): void {
  try {
    setPriority(constants.priority.PRIORITY_HIGHEST + 5);
  } catch {
    // It works without, only less surely.
  }
}

/** Opens each, or says which it could not. */
function openAll<Order, Open>(orders: readonly Order[], open: (order: Order) => Open): Open[] {
  return orders.map((each, index) => orRefuse(index, () => open(each)));
}

function orRefuse<T>(index: number, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const { code } = hostError('probes', String(index), error);
    answer({ refused: { index, code, detail: error instanceof Error ? error.message : String(error) } });
    return process.exit(0);
  }
}

function receive(receivers: readonly ReturnType<typeof openReceiver>[]): never {
  answer({});
  for (;;) {
    const ready = waitFor([CHANNEL, ...receivers.flatMap((receiver) => receiver.awaited())], IDLE_MS);
    for (const receiver of receivers) if (receiver.awaited().some(({ fd }) => ready.has(fd))) receiver.take();
    if (!ready.has(CHANNEL.fd)) continue;
    readLine();
    answer(receivers.map((receiver) => receiver.wireBytes()));
  }
}

function send(senders: readonly Sender[]): never {
  connectAll(senders);
  answer({});
  let going = senders;
  for (;;) {
    const nowMs = monotonicMs();
    const blocked = going.flatMap((sender) => sender.awaited() ?? []);
    const rests = going.filter((sender) => sender.awaited() === null).map((sender) => sender.restMs(nowMs));
    const ready = waitFor([CHANNEL, ...blocked], Math.min(IDLE_MS, ...rests));
    // Whoever started it has nothing to say but that it is over.
    if (ready.has(CHANNEL.fd)) process.exit(0);
    const thenMs = monotonicMs();
    going = going.filter((sender) => {
      const awaited = sender.awaited();
      const isDue = awaited === null ? sender.restMs(thenMs) === 0 : ready.has(awaited.fd);
      return !isDue || sender.push(thenMs);
    });
  }
}

function connectAll(senders: readonly Sender[]): void {
  const untilMs = monotonicMs() + CONNECT_WITHIN_MS;
  for (const [index, sender] of senders.entries())
    orRefuse(index, () => {
      while (!sender.isReady()) {
        if (monotonicMs() > untilMs) throw new Refusal('EHOSTUNREACH', 'nobody answers there', undefined);
        const ready = waitFor([CHANNEL, ...[sender.awaited()].filter((awaited) => awaited !== null)], IDLE_MS);
        if (ready.has(CHANNEL.fd)) process.exit(0);
      }
    });
}

function answer(said: StreamAnswer | readonly number[]): void {
  writeSync(CHANNEL.fd, `${JSON.stringify(said)}\n`);
}

/** The next line of the channel; the process ends where its other end is gone. */
function readLine(): string {
  const bytes = Buffer.alloc(64 * 1024);
  let text = '';
  while (!text.endsWith('\n')) {
    const length = readSync(CHANNEL.fd, bytes);
    if (length === 0) process.exit(0);
    text += bytes.toString('utf8', 0, length);
  }
  return text.trim();
}
