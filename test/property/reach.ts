import { expect } from 'vitest';

/** Counts how often a generator reached the cases that a property is about. */
export class Reach {
  runs = 0;
  readonly #counts = new Map<string, number>();

  constructor(cases: readonly string[]) {
    for (const name of cases) this.#counts.set(name, 0);
  }

  /** One run, with the cases that it met. */
  add(met: Iterable<string>): void {
    this.runs++;
    for (const name of new Set(met)) this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  /** Fails where a case was met in less than this share of the runs: a property that never gets there proves nothing. */
  demand(share = 0.05): void {
    const told = [...this.#counts]
      .map(([name, count]) => `${name} ${((100 * count) / this.runs).toFixed(1)} %`)
      .join(', ');
    process.stdout.write(`reached in ${this.runs} runs: ${told}\n`);
    for (const [name, count] of this.#counts)
      expect(count / this.runs, `${name} in too few runs`).toBeGreaterThanOrEqual(share);
  }
}

/** Runs of a property: a tenth, with a fixed seed, unless the long form is asked for. */
export const runs = (long: number): { numRuns: number; seed?: number } =>
  process.env['PLIMSOLL_LONG'] === '1' ? { numRuns: long } : { numRuns: Math.ceil(long / 10), seed: 20_230_817 };
