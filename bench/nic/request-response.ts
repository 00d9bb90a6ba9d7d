import { cpusHere, type FloodPlace } from './generator.ts';
import { Latencies } from './latencies.ts';
import type { Asked, AskOrder } from './packet-order.ts';
import type { PacketProcesses } from './packet-processes.ts';
import type { PathContainer } from './picture.ts';
import { ECHO_PORT } from './sink.ts';

/** Requests of this many bytes, each answered by as many, one after the other. */
export interface Conversation {
  readonly containers: readonly PathContainer[];
  readonly protocol: 'udp' | 'tcp';
  readonly payloadBytes: number;
  /** Of each container at most; as fast as they are answered unless set. */
  readonly asksPerSec?: number;
}

/** What came of them, of all containers together. */
export interface Transactions {
  /** Answered, all of them. */
  readonly count: number;
  /** Not answered within a second. */
  readonly lost: number;
  readonly perSec: number;
  /** How long each took, from before the call that sends to after the one that receives. */
  readonly latencies: Latencies;
}

export interface Conversing {
  /** Ends it, when it has lasted long enough. @throws Error where a connection was lost, or a process has ended */
  stop(): Promise<Transactions>;
}

/** Begins in each of these containers. An echo must be at the sink. @throws Error where nobody answers */
export async function startConversing(
  { root }: Pick<FloodPlace, 'root'>,
  conversation: Conversation,
  pool: PacketProcesses,
): Promise<Conversing> {
  const { containers, protocol, payloadBytes, asksPerSec } = conversation;
  // Senders take the last first.
  const cpus = cpusHere().toReversed();
  const processes = containers.map(() => pool.take());
  try {
    await Promise.all(
      containers.map(({ namespace, target }, index) => {
        const order: AskOrder = {
          work: 'ask',
          namespaceFile: root.pathOf(namespace),
          target,
          port: ECHO_PORT,
          protocol,
          payloadBytes,
          cpu: cpus[index % cpus.length]!,
          ...(asksPerSec !== undefined && { asksPerSec }),
        };
        return processes[index]!.begin(order, `asks from ${namespace} by ${protocol.toUpperCase()}`);
      }),
    );
    await Promise.all(processes.map((each) => each.ask('go')));
  } catch (error) {
    await pool.end(processes);
    throw error;
  }
  return {
    stop: async () => {
      try {
        const asked = await Promise.all(processes.map((each) => each.ask<Asked>('stop')));
        pool.giveBack(processes);
        return transactionsOf(asked);
      } catch (error) {
        await pool.end(processes);
        throw error;
      }
    },
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

const transactionsOf = (all: readonly Asked[]): Transactions => ({
  count: sum(all.map(({ transactions }) => transactions)),
  lost: sum(all.map(({ lost }) => lost)),
  perSec: sum(all.map(({ transactions, tookMs }) => (transactions * 1000) / tookMs)),
  latencies: Latencies.together(all.map(({ latencies, maxUs }) => Latencies.of(latencies, maxUs))),
});
