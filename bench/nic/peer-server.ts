import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { errnoOf } from '../../backends/linux/errors.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { HostError } from '../../src/host/errors.ts';
import { startEcho } from './echo.ts';
import { parseLine, PEER_PORT, PEER_VERSION, readLines, Request, type Response, SILENCE_MS } from './peer-protocol.ts';
import { openSink, type Sink, sweepDeadSinks } from './sink.ts';

export interface ServeOptions {
  /** All addresses of this host unless one is named. */
  readonly address?: string;
  readonly port?: number;
  /** What happens, a line each. */
  readonly onEvent?: (what: string) => void;
}

const OPERATION = 'bench nic --sink';

/**
 * The other end of `--peer`: counts and answers in this process's own network namespace, for one client at a time, until the
 * signal. It leaves nothing behind. @throws HostError
 */
export async function serveSink(
  { address = '0.0.0.0', port = PEER_PORT, onEvent = () => {} }: ServeOptions,
  signal: AbortSignal,
): Promise<void> {
  const root = new NetworkRoot({ mark: runMark('nic-sink'), own: null });
  const target = `${address}:${port}`;
  await sweepDeadSinks(root);
  const clients = new Clients(root, onEvent);
  let isReady = false;
  const server = await listen(address, port, (socket) => {
    if (isReady) clients.take(socket);
    else socket.destroy();
  });
  try {
    const echo = await startEcho(root.pathOf(''));
    try {
      isReady = true;
      onEvent(`waits at ${target} for "plimsoll bench nic --peer", with this host's address`);
      if (!signal.aborted) await once(signal, 'abort');
    } finally {
      await clients.close();
      await echo.close();
    }
  } finally {
    server.close();
  }
}

async function listen(address: string, port: number, take: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ noDelay: true }, take).listen({ host: address, port });
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    const code = errnoOf(error) ?? 'EIO';
    const detail =
      code === 'EADDRINUSE'
        ? 'the port is taken: name another with --listen ADDRESS:PORT'
        : `it cannot be listened at: ${error instanceof Error ? error.message : String(error)}`;
    throw new HostError(code, OPERATION, `${address}:${port}`, { cause: error, detail });
  }
}

/** Those who come; the first is served, the others are told so. */
class Clients {
  readonly #root: NetworkRoot;
  readonly #onEvent: (what: string) => void;
  #served: Client | undefined;

  constructor(root: NetworkRoot, onEvent: (what: string) => void) {
    this.#root = root;
    this.#onEvent = onEvent;
  }

  take(socket: Socket): void {
    socket.on('error', () => undefined);
    if (this.#served !== undefined) {
      partWith(socket, { error: `it serves ${this.#served.name}, and one at a time: try later` });
      return;
    }
    const client = new Client(this.#root, socket);
    this.#served = client;
    this.#onEvent(`serves ${client.name}`);
    void client.ended.then((complaint) => {
      this.#served = undefined;
      this.#onEvent(`${client.name} ${complaint ?? 'has gone'}`);
    });
  }

  async close(): Promise<void> {
    this.#served?.leave();
    await this.#served?.ended;
  }
}

const line = (answer: Response): string => `${JSON.stringify(answer)}\n`;

/** Says a last word, and does not wait for one. */
const partWith = (socket: Socket, answer: Response): void => void socket.end(line(answer), () => socket.destroy());

/** One client, whose questions are answered in order. */
class Client {
  readonly name: string;
  /** When nothing of it is left; with what was wrong, if anything was. */
  readonly ended: Promise<string | null>;
  readonly #root: NetworkRoot;
  readonly #socket: Socket;
  readonly #end = Promise.withResolvers<string | null>();
  #sink: Sink | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(root: NetworkRoot, socket: Socket) {
    this.#root = root;
    this.#socket = socket;
    this.name = `${socket.remoteAddress}:${socket.remotePort}`;
    this.ended = this.#end.promise;
    let complaint: string | null = null;
    socket.setTimeout(SILENCE_MS, () => {
      complaint = `has said nothing for ${SILENCE_MS / 1000} s, and counts as gone`;
      socket.destroy();
    });
    readLines(socket, (text) => this.#inTurn(() => this.#take(text)));
    socket.once('close', () => this.#inTurn(() => this.#clear(complaint)));
  }

  #inTurn(act: () => Promise<void> | void): void {
    this.#last = this.#last.then(act);
  }

  async #take(text: string): Promise<void> {
    const request = parseLine(Request, text);
    if (request?.ask === 'end') {
      await this.#clear(null);
      partWith(this.#socket, { done: true });
      return;
    }
    const answer = await this.#answer(request);
    if (!this.#socket.destroyed) this.#socket.write(line(answer));
  }

  leave(): void {
    this.#socket.destroy();
  }

  async #clear(complaint: string | null): Promise<void> {
    try {
      await this.#sink?.close();
      this.#end.resolve(complaint);
    } catch (error) {
      this.#end.resolve(`is gone, and what counted for it could not be removed: ${String(error)}`);
    }
    this.#sink = undefined;
  }

  async #answer(request: Exclude<Request, { ask: 'end' }> | null): Promise<Response> {
    if (request === null) return { error: `it does not understand that: it speaks version ${PEER_VERSION}` };
    try {
      switch (request.ask) {
        case 'begin':
          return await this.#begin(request.version);
        case 'counts':
          if (this.#sink === undefined) return { error: 'nothing is counted before "begin"' };
          return { counts: await this.#sink.counts() };
        case 'sign':
          return { done: true };
      }
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  async #begin(version: number): Promise<Response> {
    if (version !== PEER_VERSION)
      return {
        error: `it speaks version ${PEER_VERSION} of the bench's language, and the client ${version}: run the same Plimsoll on both hosts`,
      };
    this.#sink ??= await openSink(this.#root, '');
    return { begun: { version: PEER_VERSION } };
  }
}
