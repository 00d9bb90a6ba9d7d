import type { Clock } from '../../src/host/clock.ts';
import type { EventQueue } from './events.ts';

/** 2026-01-01T00:00:00Z: every simulation begins at this wall time, so that logs of two runs are the same. */
const EPOCH_MS = 1_767_225_600_000;

/** Virtual time: it stands still while anybody works, and moves when everybody sleeps. */
export const createClock = (events: EventQueue): Clock => ({
  monotonicMs: () => events.nowMs,
  wallMs: () => EPOCH_MS + events.nowMs,
  sleep: (delayMs, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const wake = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      const event = events.at(events.nowMs + delayMs, wake, true);
      const abort = (): void => {
        event.cancelled = true;
        resolve();
      };
      signal?.addEventListener('abort', abort, { once: true });
    }),
});
