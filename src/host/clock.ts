/** Time, as the host has it. Virtual on the simulated host. */
export interface Clock {
  /** Milliseconds since some fixed moment, never going back: what decisions are taken by (CLOCK_MONOTONIC). */
  monotonicMs(): number;
  /** Milliseconds since 1970, UTC: for logs only. */
  wallMs(): number;
  /** Resolves `delayMs` from now, or at once when the signal is aborted. Never rejects. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}
