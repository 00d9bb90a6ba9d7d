import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LineProcess } from '../../backends/linux/line-process.ts';
import type { Begun, PacketOrder } from './packet-order.ts';

/** TypeScript or JavaScript, as this is. */
const ENTRY = fileURLToPath(new URL(`../../src/processes/packets${extname(import.meta.url)}`, import.meta.url));

/** One process of packets. */
export class PacketProcess {
  readonly #lines: LineProcess;
  #does = 'is idle';
  #spentUs = 0;

  constructor() {
    this.#lines = new LineProcess({
      entry: ENTRY,
      obituary: (why) => new Error(`what ${this.#does} has ended: ${why}`),
    });
  }

  get isGone(): boolean {
    return this.#lines.isGone;
  }

  /** Hands over what it is to do. @param does in words, for its obituary @throws Error where it cannot be done */
  async begin(order: PacketOrder, does: string): Promise<void> {
    this.#does = does;
    const { refused } = await this.ask<Begun>(JSON.stringify(order));
    if (refused !== undefined) throw new Error(`what ${does} could not begin: ${refused}`);
  }

  /** @throws Error where it has ended, or does not answer */
  async ask<Answer>(line: string): Promise<Answer> {
    return JSON.parse(await this.#lines.ask(line)) as Answer;
  }

  /** Microseconds of CPU that its thread has had, those it had when it ended. */
  spentUs(): number {
    const { pid } = this.#lines;
    try {
      this.#spentUs = Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1000;
    } catch {
      // It has ended, and what it is asked next says so.
    }
    return this.#spentUs;
  }

  /** Resolves when it is gone, and with it its sockets. */
  end(): Promise<void> {
    return this.#lines.end();
  }
}
