/** A typed array that grows by half, so that a long file is read without a copy at each row. */
export class Grower<T extends Float32Array | Float64Array | Int32Array> {
  length = 0;
  #values: T;
  readonly #make: (length: number) => T;

  constructor(make: (length: number) => T) {
    this.#make = make;
    this.#values = make(1024);
  }

  push(value: number): void {
    if (this.length === this.#values.length) {
      const larger = this.#make(Math.ceil(this.length * 1.5));
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length++] = value;
  }

  /** What was pushed; valid until the next push. */
  get values(): T {
    return this.#values.subarray(0, this.length) as T;
  }
}

export const float32s = (): Grower<Float32Array> => new Grower((length) => new Float32Array(length));
export const float64s = (): Grower<Float64Array> => new Grower((length) => new Float64Array(length));
export const int32s = (): Grower<Int32Array> => new Grower((length) => new Int32Array(length));
