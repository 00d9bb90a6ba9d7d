/** Ctrl-C, the end that a service gets, and a terminal that was closed. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Aborts at the first signal to end. Later ones do not cut short the clearing up that follows; they are told so. */
export function untilInterrupted(): { readonly signal: AbortSignal; close(): void } {
  const interruption = new AbortController();
  const interrupt = (): void => {
    if (interruption.signal.aborted) process.stderr.write('plimsoll: clearing up; this takes a moment\n');
    interruption.abort();
  };
  // Where the terminal is gone nothing can be told, and the clearing up goes on.
  const ignore = (): void => {};
  for (const signal of SIGNALS) process.on(signal, interrupt);
  process.stderr.on('error', ignore);
  return {
    signal: interruption.signal,
    close() {
      for (const signal of SIGNALS) process.off(signal, interrupt);
      process.stderr.off('error', ignore);
    },
  };
}
