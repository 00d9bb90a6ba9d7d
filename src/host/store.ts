/** One thing that was asked. Keys are paths, `requests/web`; values are JSON. */
export interface StoreEntry {
  readonly key: string;
  readonly value: string;
  /** Of the last change of this key; grows with every commit to the store. */
  readonly revision: number;
}

/** All of it or nothing of it. */
export interface Transaction {
  /** Each key must stand at this revision (0: must not be there), or nothing is done. */
  readonly expect?: readonly { readonly key: string; readonly revision: number }[];
  readonly put?: readonly { readonly key: string; readonly value: string }[];
  readonly remove?: readonly string[];
}

/** `committed` false: an expectation did not hold, nothing was changed. */
export interface Commit {
  readonly committed: boolean;
  /** The store's revision after it. */
  readonly revision: number;
}

/** What was asked and cannot be read back from the kernel. Durable when a commit resolves. */
export interface Store {
  /** Entries whose key begins with the prefix, in order of key. */
  read(prefix: string): Promise<readonly StoreEntry[]>;
  commit(transaction: Transaction): Promise<Commit>;
}
