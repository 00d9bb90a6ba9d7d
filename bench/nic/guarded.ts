import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { NetworkRoot } from '../../backends/linux/netns.ts';
import { isAbsent } from '../../backends/linux/errors.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';

export interface GuardedOrder {
  readonly work: string;
  readonly undo: string;
  readonly args: readonly string[];
  readonly does: string;
}

/** A shell that does something in a namespace, and undoes it when its input ends: so also when whoever started it is killed. */
export class GuardedCommand {
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;
  readonly #does: string;
  #said = '';
  #spentUs = 0;

  /**
   * @param order.work shell words that last until they are undone, with `args` as $1 and so on
   * @param order.undo what ends them; everything of this shell is in a process group of its own, which ignores SIGINT
   * @param order.does in words, for its obituary
   */
  constructor(root: NetworkRoot, namespace: NamespaceName, { work, undo, args, does }: GuardedOrder) {
    this.#does = does;
    // In the background a shell's input is nothing; so it is kept under another number.
    const script = `trap '' INT; exec 3<&0; { read _ <&3; ${undo}; } & ${work}`;
    this.#child = root.within(namespace, () => spawn('sh', ['-c', script, 'sh', ...args], { detached: true }));
    this.#child.stdout?.on('data', (text: Buffer) => (this.#said += text.toString()));
    this.#child.stderr?.on('data', (text: Buffer) => (this.#said += text.toString()));
    this.#child.stdin?.on('error', () => undefined);
    this.#gone = once(this.#child, 'close').catch((error: unknown) => (this.#said += String(error)));
  }

  get #isGone(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** @throws Error where it has ended by itself */
  insistAlive(): void {
    if (this.#isGone) throw new Error(`what ${this.#does} has ended: ${lastLine(this.#said)}`);
  }

  /** Microseconds of CPU that it and all below it have had, those they had when they were last there. */
  spentUs(): number {
    const spentUs = this.#child.pid === undefined ? 0 : spentBelowUs(this.#child.pid);
    this.#spentUs = Math.max(this.#spentUs, spentUs);
    return this.#spentUs;
  }

  /** Ends it. @returns all that it has said */
  async end(): Promise<string> {
    this.#child.stdin?.end();
    await this.#gone;
    return this.#said;
  }
}

const lastLine = (text: string): string =>
  text
    .trim()
    .split('\n')
    .findLast((line) => line !== '') ?? 'it did not say why';

function spentBelowUs(pid: number): number {
  try {
    const task = `/proc/${pid}/task/${pid}`;
    const children = readFileSync(`${task}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
    const own = Number(readFileSync(`${task}/schedstat`, 'latin1').split(' ')[0]) / 1000;
    return children.reduce((sum, child) => sum + spentBelowUs(child), own);
  } catch (error) {
    // It has ended while we were looking.
    if (isAbsent(error) || (error instanceof Error && 'code' in error && error.code === 'ESRCH')) return 0;
    throw error;
  }
}
