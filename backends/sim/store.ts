import { HostError } from '../../src/host/errors.ts';
import type { Commit, Store, StoreEntry, Transaction } from '../../src/host/store.ts';

/** A store in memory. It outlives a crash of an engine, as a file on disk does. */
export function createStore(): Store {
  const entries = new Map<string, StoreEntry>();
  let revision = 0;

  const holds = ({ expect = [] }: Transaction): boolean =>
    expect.every(({ key, revision }) => (entries.get(key)?.revision ?? 0) === revision);

  return {
    read: async (prefix) =>
      [...entries.values()].filter(({ key }) => key.startsWith(prefix)).sort((a, b) => (a.key < b.key ? -1 : 1)),
    async commit(transaction): Promise<Commit> {
      const { put = [], remove = [] } = transaction;
      refuseTwice([...put.map(({ key }) => key), ...remove]);
      if (!holds(transaction)) return { committed: false, revision };
      revision++;
      for (const key of remove) entries.delete(key);
      for (const { key, value } of put) entries.set(key, { key, value, revision });
      return { committed: true, revision };
    },
  };
}

function refuseTwice(keys: readonly string[]): void {
  const twice = keys.find((key, index) => keys.indexOf(key) !== index);
  if (twice !== undefined)
    throw new HostError('EINVAL', 'store.commit', twice, { detail: 'named twice in one transaction' });
}
