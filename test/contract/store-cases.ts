import { storeContract } from './store.ts';
import { sessionContract } from './store-sessions.ts';
import { watchContract } from './store-watches.ts';

/** All that every store must do: what it is about, its name, and the case. */
export const STORE_CASES = Object.entries({
  entries: storeContract,
  sessions: sessionContract,
  watches: watchContract,
}).flatMap(([about, cases]) => cases.map((one) => [about, one.name, one] as const));
