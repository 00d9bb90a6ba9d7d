import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** Node starts in 50 ms on an idle machine, in seconds on a drowning one; a connection may take ten. */
const ANSWER_WITHIN_MS = 60_000;

export interface LineProcessOptions {
  /** The program, as Node runs it. */
  readonly entry: string;
  /** What whoever waits for an answer is told when it has ended, by its last words. */
  readonly obituary: (why: string) => Error;
  readonly onEnd?: () => void;
}

/** A process of ours that answers a line with a line on its file descriptor 3, and ends when that does. */
export class LineProcess {
  readonly #child: ChildProcess;
  readonly #options: LineProcessOptions;
  readonly #waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  readonly #gone: Promise<unknown>;
  #complaint = '';

  constructor(options: LineProcessOptions) {
    this.#options = options;
    // A session of its own: Ctrl-C at the terminal is its parent's to act on.
    this.#child = spawn(process.execPath, [options.entry], {
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
    // What works in the background holds nobody back from ending.
    this.#child.unref();
    this.#channel?.unref();
    this.#stderr?.unref();
    if (this.#channel !== undefined)
      createInterface({ input: this.#channel })
        .on('line', (line) => this.#waiting.shift()?.resolve(line))
        // One that is killed leaves what it has not read (ECONNRESET); that it is gone is told to whoever waits.
        .on('error', () => undefined);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isGone(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** @throws what `obituary` makes, where it has ended, or does not answer */
  async ask(line: string): Promise<string> {
    const late = setTimeout(() => this.kill(), ANSWER_WITHIN_MS);
    try {
      return await new Promise<string>((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
        if (this.isGone) this.#fail();
        else this.#channel?.write(`${line}\n`);
      });
    } finally {
      clearTimeout(late);
    }
  }

  kill(): void {
    this.#channel?.destroy();
    this.#child.kill('SIGKILL');
  }

  /** Resolves when it is gone, and with it its sockets. */
  async end(): Promise<void> {
    // Its last words, too, are waited for: where nothing else is, Node would end before they came.
    this.#child.ref();
    this.#stderr?.ref();
    this.kill();
    await this.#gone;
  }

  get #channel(): Socket | undefined {
    return (this.#child.stdio as ChildProcess['stdio'] | undefined)?.[3] as Socket | undefined;
  }

  get #stderr(): Socket | null {
    return this.#child.stderr as Socket | null;
  }

  #fail(): void {
    this.#options.onEnd?.();
    const said = this.#complaint
      .trim()
      .split('\n')
      .findLast((line) => line !== '');
    const how = this.#child.signalCode === null ? 'it did not say why' : `by ${this.#child.signalCode}`;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#options.obituary(said ?? how));
  }
}
