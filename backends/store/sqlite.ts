import { DatabaseSync } from 'node:sqlite';
import { HostError } from '../../src/host/errors.ts';
import type { Commit, Store, StoreEntry, Transaction } from '../../src/host/store.ts';

/** A store in a file, for the engines of one host, one after another or at the same time. */
export interface SqliteStore extends Store {
  close(): void;
}

/** Another engine may hold the file for as long as one commit takes. */
const BUSY_TIMEOUT_MS = 5000;

/** Opens the store in this file, making it where it is not there. @throws HostError EIO, EACCES or ENOENT */
export function openSqliteStore(file: string): SqliteStore {
  const database = attempt('store.open', file, () => {
    const opened = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    // Durable when a commit resolves: the log is flushed at each.
    opened.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS revision (only_one INTEGER PRIMARY KEY CHECK (only_one = 0), value INTEGER NOT NULL);
      INSERT OR IGNORE INTO revision VALUES (0, 0);
    `);
    return opened;
  });
  const select = database.prepare(
    'SELECT key, value, revision FROM entries WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key',
  );
  const revisionOf = database.prepare('SELECT revision FROM entries WHERE key = ?');
  const put = database.prepare('INSERT OR REPLACE INTO entries VALUES (?, ?, ?)');
  const remove = database.prepare('DELETE FROM entries WHERE key = ?');
  const readRevision = database.prepare('SELECT value FROM revision');
  const writeRevision = database.prepare('UPDATE revision SET value = ?');

  const apply = (transaction: Transaction): Commit => {
    const revision = Number(readRevision.get()!['value']);
    const stands = (key: string): number => Number(revisionOf.get(key)?.['revision'] ?? 0);
    if ((transaction.expect ?? []).some(({ key, revision }) => stands(key) !== revision))
      return { committed: false, revision };
    for (const key of transaction.remove ?? []) remove.run(key);
    for (const { key, value } of transaction.put ?? []) put.run(key, value, revision + 1);
    writeRevision.run(revision + 1);
    return { committed: true, revision: revision + 1 };
  };

  return {
    read: async (prefix) => attempt('store.read', prefix, () => select.all(prefix).map(entryOf)),
    async commit(transaction) {
      refuseTwice(transaction);
      return attempt('store.commit', file, () => {
        database.exec('BEGIN IMMEDIATE');
        try {
          const commit = apply(transaction);
          database.exec('COMMIT');
          return commit;
        } catch (error) {
          database.exec('ROLLBACK');
          throw error;
        }
      });
    },
    close: () => database.close(),
  };
}

const entryOf = (row: Record<string, unknown>): StoreEntry => ({
  key: String(row['key']),
  value: String(row['value']),
  revision: Number(row['revision']),
});

function refuseTwice({ put = [], remove = [] }: Transaction): void {
  const keys = [...put.map(({ key }) => key), ...remove];
  const twice = keys.find((key, index) => keys.indexOf(key) !== index);
  if (twice !== undefined)
    throw new HostError('EINVAL', 'store.commit', twice, { detail: 'named twice in one transaction' });
}

function attempt<T>(operation: string, target: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new HostError('EIO', operation, target, { detail, cause });
  }
}
