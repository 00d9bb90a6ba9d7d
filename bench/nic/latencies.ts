/** Slots grow by 1 %: so exact is a percentile. */
const GROWTH = Math.log(1.01);
/** What is shorter than this counts as this. */
const LEAST_US = 0.1;

/** How long each of many things took, in slots: as many as come, in little memory. */
export class Latencies {
  readonly #slots = new Map<number, number>();
  #count = 0;
  #maxUs = 0;

  /** Those of several together. */
  static together(all: readonly Latencies[]): Latencies {
    const sum = new Latencies();
    for (const each of all) sum.#take(each.slots(), each.maxUs);
    return sum;
  }

  /** As another process kept them. */
  static of(slots: readonly (readonly [slot: number, count: number])[], maxUs: number): Latencies {
    const latencies = new Latencies();
    latencies.#take(slots, maxUs);
    return latencies;
  }

  #take(slots: readonly (readonly [slot: number, count: number])[], maxUs: number): void {
    for (const [slot, count] of slots) {
      this.#slots.set(slot, (this.#slots.get(slot) ?? 0) + count);
      this.#count += count;
    }
    this.#maxUs = Math.max(this.#maxUs, maxUs);
  }

  add(tookUs: number): void {
    const slot = Math.floor(Math.log(Math.max(tookUs, LEAST_US) / LEAST_US) / GROWTH);
    this.#slots.set(slot, (this.#slots.get(slot) ?? 0) + 1);
    this.#count += 1;
    if (tookUs > this.#maxUs) this.#maxUs = tookUs;
  }

  get count(): number {
    return this.#count;
  }

  /** The longest, exactly. */
  get maxUs(): number {
    return this.#maxUs;
  }

  /** By number of slot, those that hold something. */
  slots(): readonly (readonly [slot: number, count: number])[] {
    return [...this.#slots].sort(([a], [b]) => a - b);
  }

  /** No longer than this took so large a share of them, to 1 %. @throws RangeError where there are none */
  percentileUs(share: number): number {
    if (this.#count === 0) throw new RangeError('there is no latency to take a percentile of');
    const wanted = Math.max(1, Math.ceil(share * this.#count));
    let passed = 0;
    for (const [slot, count] of this.slots()) {
      passed += count;
      // The middle of the slot; the last is never beyond what there was.
      if (passed >= wanted) return Math.min(this.#maxUs, LEAST_US * Math.exp((slot + 0.5) * GROWTH));
    }
    return this.#maxUs;
  }
}
