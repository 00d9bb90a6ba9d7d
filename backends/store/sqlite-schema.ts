import type { DatabaseSync } from 'node:sqlite';
import { HostError } from '../../src/host/errors.ts';
import { inTransaction } from './sqlite-transaction.ts';

/** Tells a store of Plimsoll's from any other SQLite file: "Plim". */
const APPLICATION_ID = 0x50_6c_69_6d;

/**
 * How a file comes from each version to the next; a new one goes all the way. A session lives until `ends_ms` of
 * CLOCK_MONOTONIC in the boot it was opened in: that clock starts anew with the machine, and whoever was alive then is not.
 */
const MIGRATIONS = [
  `
  CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE revision (only_one INTEGER PRIMARY KEY CHECK (only_one = 0), value INTEGER NOT NULL) STRICT;
  INSERT INTO revision VALUES (0, 0);
  PRAGMA application_id = ${APPLICATION_ID};
  `,
  `
  CREATE TABLE sessions (id TEXT PRIMARY KEY, boot TEXT NOT NULL, ttl_ms REAL NOT NULL, ends_ms REAL NOT NULL) STRICT, WITHOUT ROWID;
  ALTER TABLE entries ADD COLUMN session TEXT;
  CREATE INDEX entries_by_session ON entries (session) WHERE session IS NOT NULL;
  `,
];

/** Of the tables above. A file with a higher one was written by a newer Plimsoll. */
const SCHEMA_VERSION = MIGRATIONS.length;

const SQLITE_BUSY = 5;
const TRY_EVERY_MS = 10;
const TRIES_MAX = 500;
const cell = new Int32Array(new SharedArrayBuffer(4));

/** Makes the tables, or brings them up to this version. @throws HostError EINVAL for a file that is not ours to change. */
export function prepareSchema(database: DatabaseSync, file: string): void {
  const pragma = (name: string): number => Number(database.prepare(`PRAGMA ${name}`).get()![name]);
  // Before anything is written: a file of somebody else stays as it is.
  // In one transaction: another process may be making the tables just now.
  database.exec('BEGIN');
  try {
    refuseForeign(database, pragma('application_id'), file);
  } finally {
    database.exec('COMMIT');
  }
  refuseNewer(pragma('user_version'), file);
  // Durable when a commit resolves: the log is flushed at each.
  whenNotBusy(() => database.exec('PRAGMA journal_mode = WAL'));
  database.exec('PRAGMA synchronous = FULL');
  if (pragma('user_version') === SCHEMA_VERSION) return;
  inTransaction(database, () => {
    // Another process may have done it meanwhile, and be newer.
    const version = pragma('user_version');
    refuseNewer(version, file);
    for (const migration of MIGRATIONS.slice(version)) database.exec(migration);
    database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  });
}

/** The switch to another journal waits for nobody, whatever time-out is set (sqlite.org/c3ref/busy_handler.html). */
function whenNotBusy(work: () => void): void {
  for (let tries = 1; ; tries++) {
    try {
      work();
      return;
    } catch (error) {
      if (tries === TRIES_MAX || (error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
      Atomics.wait(cell, 0, 0, TRY_EVERY_MS);
    }
  }
}

function refuseForeign(database: DatabaseSync, applicationId: number, file: string): void {
  const tables = Number(database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()!['count']);
  if (applicationId === APPLICATION_ID || (applicationId === 0 && tables === 0)) return;
  throw new HostError('EINVAL', 'store.open', file, {
    detail: "another program's database, not a store of Plimsoll: name another file",
  });
}

function refuseNewer(version: number, file: string): void {
  if (version <= SCHEMA_VERSION) return;
  throw new HostError('EINVAL', 'store.open', file, {
    detail: `written by another Plimsoll (store version ${version}, this one knows ${SCHEMA_VERSION}): upgrade, or move the file away`,
  });
}
