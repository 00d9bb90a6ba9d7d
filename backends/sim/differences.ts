/** Something that the model does otherwise than the kernel, known and shown. */
export interface Difference {
  readonly id: string;
  /** What differs, and why it is left so. */
  readonly reason: string;
  /** The test that would pass if the model did as the kernel does, by its file and title. */
  readonly test: string;
  /** Scenarios, by path, whose simulated outcome says nothing about a real host because of it. */
  readonly worthless: readonly string[];
}

/** All that are known. An entry is added when a test on a real kernel has shown it, never on suspicion. */
export const differences: readonly Difference[] = [];
