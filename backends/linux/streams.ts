import { HostError } from '../../src/host/errors.ts';
import type { Receiving, Stream, Streaming, StreamPlace } from '../../src/host/probes.ts';
import { hostError } from './errors.ts';
import { LineProcess } from './line-process.ts';
import type { NetworkRoot } from './netns.ts';
import type { StreamAnswer, StreamOrder } from './stream-order.ts';

/** Streams of packets, each batch of them in a process of its own. */
export class LinuxStreams {
  readonly #root: NetworkRoot;
  readonly #name: string;
  readonly #entry: string;
  readonly #open = new Set<LineProcess>();

  /** @param entry the program that sends and receives: `src/processes/stream.ts` */
  constructor(root: NetworkRoot, name: string, entry: string) {
    this.#root = root;
    this.#name = name;
    this.#entry = entry;
  }

  async receive(places: readonly StreamPlace[]): Promise<Receiving> {
    const target = (index: number): string => {
      const { namespace, protocol, port } = places[index]!;
      return `${this.#name}/${namespace} ${protocol} port ${port}`;
    };
    const orders = this.#located(places, 'probes.receive', target, ({ namespace, protocol, port }) => ({
      namespaceFile: this.#root.pathOf(namespace),
      protocol,
      port,
    }));
    const process = await this.#begin({ work: 'receive', orders }, 'probes.receive', target);
    return {
      wireBytes: async () => JSON.parse(await process.ask('')) as number[],
      close: () => process.end(),
    };
  }

  async stream(streams: readonly Stream[]): Promise<Streaming> {
    const target = (index: number): string => {
      const { from, to, protocol, port } = streams[index]!;
      return `${this.#name}/${from} to ${to} ${protocol} port ${port}`;
    };
    const orders = this.#located(streams, 'probes.stream', target, ({ from, ...stream }) => ({
      ...stream,
      namespaceFile: this.#root.pathOf(from),
    }));
    const process = await this.#begin({ work: 'send', orders }, 'probes.stream', target);
    return { close: () => process.end() };
  }

  /** Ends all of them. */
  close(): void {
    for (const process of this.#open) process.kill();
  }

  #located<From, To>(
    all: readonly From[],
    operation: string,
    target: (index: number) => string,
    locate: (from: From) => To,
  ): To[] {
    return all.map((each, index) => {
      try {
        return locate(each);
      } catch (error) {
        throw hostError(operation, target(index), error);
      }
    });
  }

  async #begin(order: StreamOrder, operation: string, target: (index: number) => string): Promise<LineProcess> {
    const process = new LineProcess({
      entry: this.#entry,
      obituary: (why) => new HostError('EIO', operation, 'process', { detail: `its process ended: ${why}` }),
      onEnd: () => this.#open.delete(process),
    });
    this.#open.add(process);
    try {
      const { refused } = JSON.parse(await process.ask(JSON.stringify(order))) as StreamAnswer;
      if (refused === undefined) return process;
      throw new HostError(refused.code, operation, target(refused.index), { detail: refused.detail });
    } catch (error) {
      await process.end();
      throw hostError(operation, target(0), error);
    }
  }
}
