import { EngineCrash } from '../../src/host/errors.ts';

/** The life of one engine: when it ends, every handle the engine holds is dead, and whatever it waits for is over. */
export class Life {
  #death: EngineCrash | null = null;
  readonly #waiting = new Set<(death: EngineCrash) => void>();

  get isOver(): boolean {
    return this.#death !== null;
  }

  /** Ends it. Returns what to throw. */
  end(where: string): EngineCrash {
    this.#death ??= new EngineCrash(`the engine crashed ${where}`);
    for (const reject of this.#waiting) reject(this.#death);
    this.#waiting.clear();
    return this.#death;
  }

  /** @throws EngineCrash once it has ended. */
  check(): void {
    if (this.#death !== null) throw this.#death;
  }

  /** The promise, or the end of this life, whichever comes first. */
  outlive<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#death !== null) {
        reject(this.#death);
        return;
      }
      this.#waiting.add(reject);
      const settle =
        <V>(take: (value: V) => void) =>
        (value: V): void => {
          this.#waiting.delete(reject);
          take(value);
        };
      promise.then(settle(resolve), settle(reject));
    });
  }
}
