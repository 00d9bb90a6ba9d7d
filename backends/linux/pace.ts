import { setImmediate } from 'node:timers/promises';
import type { Applied } from '../../src/host/batch.ts';
import { monotonicMs } from './clock.ts';
import { inOrder } from './errors.ts';

/** Others wait no longer than this for their turn: the supervisor's looks are 10 ms apart. */
const TURN_MS = 5;

/** Lets the event loop turn now and then in the middle of long synchronous work. */
export class Pace {
  #turnMs = monotonicMs();

  async keep(): Promise<void> {
    if (monotonicMs() - this.#turnMs < TURN_MS) return;
    await setImmediate();
    this.#turnMs = monotonicMs();
  }
}

/** As `inOrder`, with turns of the event loop between. */
export function inTurns<T>(
  targets: readonly T[],
  operation: string,
  nameOf: (target: T) => string,
  act: (target: T) => void | Promise<void>,
): Promise<Applied> {
  const pace = new Pace();
  return inOrder(targets, operation, nameOf, async (target) => {
    await act(target);
    await pace.keep();
  });
}
