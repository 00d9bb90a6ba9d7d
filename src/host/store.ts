/** One thing that was asked. Keys are paths, `requests/web`; values are JSON. */
export interface StoreEntry {
  readonly key: string;
  readonly value: string;
  /** Of the last change of this key; grows with every commit to the store. */
  readonly revision: number;
}

/** Whoever lives: what it put is removed when it ends, or has not been renewed for its time. */
export type SessionId = string;

/** All of it or nothing of it. */
export interface Transaction {
  /** Each key must stand at this revision (0: must not be there), or nothing is done. */
  readonly expect?: readonly { readonly key: string; readonly revision: number }[];
  /** What is put in a session is gone with it. */
  readonly put?: readonly { readonly key: string; readonly value: string; readonly session?: SessionId }[];
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
  /** EINVAL: a key named twice; ESRCH: a session that has ended. An expectation that does not hold comes first. */
  commit(transaction: Transaction): Promise<Commit>;
  /**
   * Calls `notify` soon after anything under the prefix was put or removed by anybody, sessions that ended included, until
   * the signal; several changes may come as one call, and a call without a change may come (after a lost connection). What
   * is committed after it resolves is not missed. `notify` gets no values: what is, is read.
   */
  watch(prefix: string, notify: () => void, signal: AbortSignal): Promise<void>;
  /** A session that lives so long, and again so long from each renewal. */
  openSession(ttlMs: number): Promise<SessionId>;
  /** False: it has ended. */
  renewSession(session: SessionId): Promise<boolean>;
  /** Removes what was put in it; one that has ended is no error. */
  endSession(session: SessionId): Promise<void>;
}
