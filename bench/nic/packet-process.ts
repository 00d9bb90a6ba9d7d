import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Begun, PacketOrder } from './packet-order.ts';

/** TypeScript or JavaScript, as this is. */
const ENTRY = fileURLToPath(new URL(`../../src/processes/packets${extname(import.meta.url)}`, import.meta.url));

/** Node starts in 50 ms on an idle machine, in seconds on a drowning one. */
const ANSWER_WITHIN_MS = 60_000;

/** One process of packets: it answers a line with a line, and ends when the channel does. */
export class PacketProcess {
  readonly #child: ChildProcess;
  readonly #waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  readonly #gone: Promise<unknown>;
  #does = 'is idle';
  #complaint = '';
  #spentUs = 0;

  constructor() {
    // A session of its own: Ctrl-C at the terminal is its parent's to act on.
    this.#child = spawn(process.execPath, [ENTRY], {
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
    (this.#child.stderr as Socket | null)?.unref();
    if (this.#channel !== undefined)
      createInterface({ input: this.#channel })
        .on('line', (line) => this.#waiting.shift()?.resolve(line))
        // One that is killed leaves what it has not read.
        .on('error', () => undefined);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get #channel(): Socket | undefined {
    return (this.#child.stdio as ChildProcess['stdio'] | undefined)?.[3] as Socket | undefined;
  }

  /** Hands over what it is to do. @param does in words, for its obituary @throws Error where it cannot be done */
  async begin(order: PacketOrder, does: string): Promise<void> {
    this.#does = does;
    const { refused } = await this.ask<Begun>(JSON.stringify(order));
    if (refused !== undefined) throw new Error(`what ${does} could not begin: ${refused}`);
  }

  /** @throws Error where it has ended, or does not answer */
  async ask<Answer>(line: string): Promise<Answer> {
    const late = setTimeout(() => this.#child.kill('SIGKILL'), ANSWER_WITHIN_MS);
    try {
      const answer = await new Promise<string>((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
        if (this.isGone) this.#fail();
        else this.#channel?.write(`${line}\n`);
      });
      return JSON.parse(answer) as Answer;
    } finally {
      clearTimeout(late);
    }
  }

  get isGone(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Microseconds of CPU that its thread has had, those it had when it ended. */
  spentUs(): number {
    try {
      const file = `/proc/${this.#child.pid}/task/${this.#child.pid}/schedstat`;
      this.#spentUs = Number(readFileSync(file, 'utf8').split(' ')[0]) / 1000;
    } catch {
      // It has ended, and what it is asked next says so.
    }
    return this.#spentUs;
  }

  #fail(): void {
    const said = this.#complaint
      .trim()
      .split('\n')
      .findLast((line) => line !== '');
    const how = said ?? (this.#child.signalCode === null ? 'it did not say why' : `by ${this.#child.signalCode}`);
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(`what ${this.#does} has ended: ${how}`));
  }

  /** Resolves when it is gone, and with it its sockets. */
  async end(): Promise<void> {
    this.#child.ref();
    this.#channel?.destroy();
    this.#child.kill('SIGKILL');
    await this.#gone;
  }
}
