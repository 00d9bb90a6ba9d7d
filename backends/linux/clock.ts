import type { Clock } from '../../src/host/clock.ts';

/** Node refuses longer timers: 2^31 - 1 ms. */
const TIMER_MAX_MS = 2_147_483_647;

/** CLOCK_MONOTONIC in milliseconds: the same in every process of the machine. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The machine's own time. */
export const linuxClock: Clock = {
  monotonicMs,
  wallMs: () => Date.now(),
  async sleep(delayMs, signal) {
    const endMs = monotonicMs() + delayMs;
    // A timer may fire a little early, and cannot be set for more than 24 days.
    for (let restMs = delayMs; restMs > 0; restMs = endMs - monotonicMs()) {
      if (signal?.aborted === true) return;
      await timer(Math.min(Math.ceil(restMs), TIMER_MAX_MS), signal);
    }
  },
};

const timer = (delayMs: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(handle);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const handle = setTimeout(end, delayMs);
    signal?.addEventListener('abort', end, { once: true });
  });

const cell = new Int32Array(new SharedArrayBuffer(4));

/** Holds up the whole process for this long: for processes that have nothing else to do. */
export const pause = (delayMs: number): void => {
  Atomics.wait(cell, 0, 0, delayMs);
};
