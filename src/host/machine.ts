import type { Bytes } from './units.ts';

/** Something a host may or may not be able to do, and why not. */
export interface Ability {
  readonly name: string;
  readonly present: boolean;
  /** What was tried and found; for an absent one also what would bring it. */
  readonly detail: string;
}

/** The machine under the containers. */
export interface MachineFacts {
  readonly hostname: string;
  readonly kernel: string;
  readonly ramBytes: Bytes;
  readonly cpus: number;
  /** The version that holds the memory controller; null where none does. */
  readonly cgroupVersion: 1 | 2 | null;
  readonly abilities: readonly Ability[];
}

/** What the host is and what it can do, found by trying. */
export interface Machine {
  describe(): Promise<MachineFacts>;
}
