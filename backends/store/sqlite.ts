import { DatabaseSync } from 'node:sqlite';
import { type Errno, HostError } from '../../src/host/errors.ts';
import type { Commit, Store, StoreEntry, Transaction } from '../../src/host/store.ts';

/** A store in a file, for the engines of one host, one after another or at the same time. */
export interface SqliteStore extends Store {
  /** Again is no error. */
  close(): void;
}

/** Another engine may hold the file for as long as one commit takes. */
const BUSY_TIMEOUT_MS = 5000;

/** Tells a store of Plimsoll's from any other SQLite file: "Plim". */
const APPLICATION_ID = 0x50_6c_69_6d;

/** Of the tables below. A file with a higher one was written by a newer Plimsoll. */
const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE revision (only_one INTEGER PRIMARY KEY CHECK (only_one = 0), value INTEGER NOT NULL) STRICT;
  INSERT INTO revision VALUES (0, 0);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** Opens the store in this file, making it where it is not there. @throws HostError EIO, EACCES, EAGAIN, EINVAL or ENOSPC */
export function openSqliteStore(file: string): SqliteStore {
  const database = attempt('store.open', file, () => new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS }));
  try {
    attempt('store.open', file, () => prepareSchema(database, file));
    return storeOn(database, file);
  } catch (error) {
    database.close();
    throw error;
  }
}

function prepareSchema(database: DatabaseSync, file: string): void {
  const pragma = (name: string): number => Number(database.prepare(`PRAGMA ${name}`).get()![name]);
  // Before anything is written: a file of somebody else stays as it is.
  refuseForeign(database, pragma('application_id'), file);
  // Durable when a commit resolves: the log is flushed at each.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  inTransaction(database, () => {
    // Another process may have made it meanwhile.
    if (pragma('application_id') === 0) database.exec(SCHEMA);
  });
  const version = pragma('user_version');
  if (version !== SCHEMA_VERSION)
    throw new HostError('EINVAL', 'store.open', file, {
      detail: `written by another Plimsoll (store version ${version}, this one knows ${SCHEMA_VERSION}): upgrade, or move the file away`,
    });
}

function refuseForeign(database: DatabaseSync, applicationId: number, file: string): void {
  const tables = Number(database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()!['count']);
  if (applicationId === APPLICATION_ID || (applicationId === 0 && tables === 0)) return;
  throw new HostError('EINVAL', 'store.open', file, {
    detail: "another program's database, not a store of Plimsoll: name another file",
  });
}

/** Alone among writers, and all or nothing. */
function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    // Some failures, a full disk among them, have rolled back already.
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function storeOn(database: DatabaseSync, file: string): SqliteStore {
  const select = database.prepare(
    // From the prefix up to it and the last code point: a range of the index.
    'SELECT key, value, revision FROM entries WHERE key >= ?1 AND key < ?1 || char(0x10FFFF) ORDER BY key',
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
      return attempt('store.commit', file, () => inTransaction(database, () => apply(transaction)));
    },
    close: () => {
      if (database.isOpen) database.close();
    },
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

/** SQLite's primary result codes (sqlite.org/rescode.html) in the port's words; anything else is EIO. */
const CODES: Readonly<Record<number, { readonly code: Errno; readonly remedy?: string }>> = {
  3: { code: 'EACCES' },
  5: { code: 'EAGAIN', remedy: `held by another process for over ${BUSY_TIMEOUT_MS / 1000} s` },
  8: { code: 'EACCES' },
  11: { code: 'EIO', remedy: 'the file is damaged: move it away, and what was asked must be asked again' },
  13: { code: 'ENOSPC' },
  14: { code: 'ENOENT', remedy: 'its folder must be there, and writable' },
  26: { code: 'EIO', remedy: 'the file is not a store, or is damaged: move it away' },
};

function attempt<T>(operation: string, target: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    // The lower byte is the primary code.
    const { code = 'EIO', remedy } = CODES[((cause as { errcode?: number }).errcode ?? 1) & 0xff] ?? {};
    const said = cause instanceof Error ? cause.message : JSON.stringify(cause);
    throw new HostError(code, operation, target, { detail: remedy === undefined ? said : `${said}; ${remedy}`, cause });
  }
}
