import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { HostError } from '../../src/host/errors.ts';
import {
  parseLine,
  PEER_PORT,
  PEER_VERSION,
  readLines,
  type Request,
  Response,
  SIGN_EVERY_MS,
  SILENCE_MS,
} from './peer-protocol.ts';
import type { Sink, SinkCounts } from './sink.ts';

const START_IT = 'start "plimsoll bench nic --sink" there';

/** A sink on another host, by the word of a `plimsoll bench nic --sink` that runs there. */
export class PeerSink implements Sink {
  readonly #line: PeerLine;
  readonly #signs: NodeJS.Timeout;

  constructor(line: PeerLine) {
    this.#line = line;
    this.#signs = setInterval(() => {
      // That it is gone is told to whoever asks next.
      line.ask({ ask: 'sign' }).catch(() => undefined);
    }, SIGN_EVERY_MS).unref();
  }

  /** @throws HostError EIO where it is gone, ETIMEDOUT where it does not answer */
  async counts(): Promise<SinkCounts> {
    const answer = await this.#line.ask({ ask: 'counts' });
    if (!('counts' in answer)) throw this.#line.stranger();
    return answer.counts;
  }

  async close(): Promise<void> {
    clearInterval(this.#signs);
    // When that is answered the next client is welcome. One that is gone needs no goodbye.
    await this.#line.ask({ ask: 'end' }).catch(() => undefined);
    await this.#line.close();
  }
}

/** @throws HostError where nobody is there, or not who was meant */
export async function openPeerSink(host: string, port: number | undefined, signal: AbortSignal): Promise<PeerSink> {
  const at = { host, port: port ?? PEER_PORT };
  const socket = connect({ ...at, family: 4, noDelay: true });
  const line = new PeerLine(socket, `${at.host}:${at.port}`);
  try {
    await line.connected(signal);
    const answer = await line.ask({ ask: 'begin', version: PEER_VERSION });
    if (!('begun' in answer)) throw line.stranger();
    if (answer.begun.version !== PEER_VERSION) throw line.failed('EOPNOTSUPP', otherVersion(answer.begun.version));
    return new PeerSink(line);
  } catch (error) {
    await line.close();
    throw error;
  }
}

const otherVersion = (version: number): string =>
  `it speaks version ${version} of the bench's language, and this is ${PEER_VERSION}: run the same Plimsoll on both hosts`;

/** A connection by which each line is answered with a line, in order. */
class PeerLine {
  readonly #socket: Socket;
  readonly #target: string;
  readonly #waiting: { resolve: (answer: Response) => void; reject: (error: Error) => void }[] = [];
  #over: HostError | undefined;

  constructor(socket: Socket, target: string) {
    this.#socket = socket;
    this.#target = target;
    socket.on('error', (error) => this.#end(this.failed('EIO', `it cannot be reached any more: ${error.message}`)));
    socket.on('close', () => this.#end(this.failed('EIO', `it has ended: ${START_IT} again`)));
    readLines(socket, (line) => this.#take(line));
  }

  /** @throws HostError EHOSTUNREACH */
  async connected(signal: AbortSignal): Promise<void> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(SILENCE_MS)]);
    try {
      await once(this.#socket, 'connect', { signal: within });
    } catch (error) {
      const why = within.aborted ? 'no answer' : error instanceof Error ? error.message : String(error);
      throw this.failed('EHOSTUNREACH', `nobody is reached there (${why}): ${START_IT}, and let its TCP port through`);
    }
  }

  /** @throws HostError where it refuses, or is gone */
  async ask(request: Request): Promise<Exclude<Response, { error: string }>> {
    const late = setTimeout(
      () => this.#end(this.failed('ETIMEDOUT', `it has said nothing for ${SILENCE_MS / 1000} s: is its link down?`)),
      SILENCE_MS,
    );
    try {
      const answer = await new Promise<Response>((resolve, reject) => {
        if (this.#over !== undefined) return reject(this.#over);
        this.#waiting.push({ resolve, reject });
        this.#socket.write(`${JSON.stringify(request)}\n`);
      });
      if (!('error' in answer)) return answer;
      throw this.failed('EIO', answer.error);
    } finally {
      clearTimeout(late);
    }
  }

  #take(text: string): void {
    const answer = parseLine(Response, text);
    if (answer === null) this.#end(this.stranger());
    else this.#waiting.shift()?.resolve(answer);
  }

  stranger(): HostError {
    return this.failed('EIO', `what answers there is no sink of Plimsoll's, or of another version: ${START_IT}`);
  }

  failed(code: 'EIO' | 'ETIMEDOUT' | 'EHOSTUNREACH' | 'EOPNOTSUPP', detail: string): HostError {
    return new HostError(code, 'bench nic --peer', this.#target, { detail });
  }

  #end(error: HostError): void {
    this.#over ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#over);
    this.#socket.destroy();
  }

  async close(): Promise<void> {
    this.#over ??= this.failed('EIO', 'it was closed');
    if (this.#socket.closed) return;
    const closed = once(this.#socket, 'close').catch(() => undefined);
    this.#socket.destroy();
    await closed;
  }
}
