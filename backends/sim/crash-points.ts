/**
 * Counts every point at which an engine could crash: around a call, and at every prefix of a batch. A run that is
 * repeated with `crashAt` set to one of them crashes there, once, so that a property can try each.
 */
export class CrashPoints {
  /** How many there were so far; the first is number 0. */
  count = 0;
  readonly #crashAt: number;

  constructor(crashAt: number | undefined) {
    this.#crashAt = crashAt ?? -1;
  }

  /** Passes a call on so many targets. Returns how many of them are applied before the crash; null: it passes. */
  pass(targets: number): number | null {
    const first = this.count;
    this.count += targets + 1;
    return this.#crashAt >= first && this.#crashAt < this.count ? this.#crashAt - first : null;
  }
}
