import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { HostError } from '../../src/host/errors.ts';
import type { Receiving, Stream, Streaming, StreamPlace } from '../../src/host/probes.ts';
import { hostError } from './errors.ts';
import type { NetworkRoot } from './netns.ts';
import type { StreamAnswer, StreamOrder } from './stream-order.ts';

/** Node starts in 50 ms on an idle machine, in seconds on a drowning one; a connection may take ten. */
const ANSWER_WITHIN_MS = 60_000;

/** Streams of packets, each batch of them in a process of its own. */
export class LinuxStreams {
  readonly #root: NetworkRoot;
  readonly #name: string;
  readonly #entry: string;
  readonly #open = new Set<StreamProcess>();

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

  async #begin(order: StreamOrder, operation: string, target: (index: number) => string): Promise<StreamProcess> {
    const process = new StreamProcess(this.#entry, operation, () => this.#open.delete(process));
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

/** One process of streams: it answers a line with a line, and ends when the channel does. */
class StreamProcess {
  readonly #child: ChildProcess;
  readonly #operation: string;
  readonly #onEnd: () => void;
  readonly #waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  readonly #gone: Promise<unknown>;
  #complaint = '';

  constructor(entry: string, operation: string, onEnd: () => void) {
    this.#operation = operation;
    this.#onEnd = onEnd;
    // A session of its own: Ctrl-C at the terminal is its parent's to act on.
    this.#child = spawn(process.execPath, [entry], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] },
      cwd: '/',
    });
    this.#gone = once(this.#child, 'close').catch((error: unknown) => (this.#complaint = String(error)));
    void this.#gone.then(() => this.#fail());
    // For want of file descriptors there is no process, nor anything to speak to it by.
    this.#child.stderr?.on('data', (text: Buffer) => (this.#complaint += text.toString()));
    this.#channel?.on('error', () => undefined);
    // What streams in the background holds nobody back from ending.
    this.#child.unref();
    this.#channel?.unref();
    (this.#child.stderr as Socket | null)?.unref();
    if (this.#channel !== undefined)
      createInterface({ input: this.#channel }).on('line', (line) => this.#waiting.shift()?.resolve(line));
  }

  get #channel(): Socket | undefined {
    return (this.#child.stdio as ChildProcess['stdio'] | undefined)?.[3] as Socket | undefined;
  }

  /** @throws HostError EIO where it ended, ETIMEDOUT where it does not answer */
  async ask(line: string): Promise<string> {
    const late = setTimeout(() => this.kill(), ANSWER_WITHIN_MS);
    try {
      return await new Promise<string>((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
        if (this.#isGone) this.#fail();
        else this.#channel?.write(`${line}\n`);
      });
    } finally {
      clearTimeout(late);
    }
  }

  get #isGone(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #fail(): void {
    this.#onEnd();
    const detail = `its process ended: ${
      this.#complaint
        .trim()
        .split('\n')
        .findLast((line) => line !== '') ?? 'it did not say why'
    }`;
    for (const { reject } of this.#waiting.splice(0))
      reject(new HostError('EIO', this.#operation, 'process', { detail }));
  }

  kill(): void {
    this.#channel?.destroy();
    this.#child.kill('SIGKILL');
  }

  /** Resolves when it is gone, and with it its sockets. */
  async end(): Promise<void> {
    this.#child.ref();
    this.kill();
    await this.#gone;
  }
}
