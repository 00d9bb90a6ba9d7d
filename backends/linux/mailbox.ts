import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SupervisorSettings } from '../../src/host/supervision.ts';
import { isAbsent } from './errors.ts';
import type { ProcessIdentity } from './owner.ts';

/** What the engine hands over: one file, replaced whole. `revision` tells one handing-over from the next. */
export interface Order {
  readonly revision: string;
  readonly settings: SupervisorSettings;
}

/** What the supervisor answers: who it is, and by what it works. */
export interface Answer {
  readonly supervisor: ProcessIdentity;
  /** Of the last order it read. */
  readonly revision: string;
  /** What it works by; null before it could begin. */
  readonly settings: SupervisorSettings | null;
  /** Why it did not take over the last order; it goes on with what it had. */
  readonly refusal?: string;
}

/** The folder through which an engine and a supervisor talk. Each writes one file, and neither can hold up the other. */
export class Mailbox {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  writeOrder(order: Order): void {
    mkdirSync(this.folder, { recursive: true });
    replace(join(this.folder, 'order.json'), JSON.stringify(order));
  }

  /** The text of the order: whoever acts on it must check it first. Null where there is none: released. */
  readOrder(): string | null {
    return readIfThere(join(this.folder, 'order.json'));
  }

  /** Changes whenever the order is replaced; null where there is none. */
  orderStamp(): string | null {
    return stamp(join(this.folder, 'order.json'));
  }

  removeOrder(): void {
    rmSync(join(this.folder, 'order.json'), { force: true });
  }

  writeAnswer(answer: Answer): void {
    replace(join(this.folder, 'answer.json'), JSON.stringify(answer));
  }

  readAnswer(): Answer | null {
    const text = readIfThere(join(this.folder, 'answer.json'));
    return text === null ? null : (JSON.parse(text) as Answer);
  }

  answerStamp(): string | null {
    return stamp(join(this.folder, 'answer.json'));
  }

  removeAnswer(): void {
    rmSync(join(this.folder, 'answer.json'), { force: true });
  }
}

function replace(path: string, text: string): void {
  const whole = `${path}.${process.pid}`;
  try {
    writeFileSync(whole, text);
    renameSync(whole, path);
  } catch (error) {
    rmSync(whole, { force: true });
    throw error;
  }
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

function stamp(path: string): string | null {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? null : `${found.ino} ${found.mtimeNs}`;
}
