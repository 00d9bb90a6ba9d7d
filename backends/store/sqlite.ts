import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Commit, SessionId, Store, StoreEntry, Transaction } from '../../src/host/store.ts';
import { refuseTtl, refuseTwice, sessionEnded } from './refusals.ts';
import { attempt, BUSY_TIMEOUT_MS } from './sqlite-errors.ts';
import { prepareSchema } from './sqlite-schema.ts';
import { inTransaction } from './sqlite-transaction.ts';
import { SqliteWatches } from './sqlite-watches.ts';

/** A store in a file, for the engines of one machine, one after another or at the same time. */
export interface SqliteStore extends Store {
  /** Its watches end; sessions live on for their time. Again is no error. */
  close(): void;
}

export interface SqliteOptions {
  /** What sessions live by; CLOCK_MONOTONIC unless set, which all processes of a machine share. */
  readonly monotonicMs?: () => number;
}

/** Opens the store in this file, making it where it is not there. @throws HostError EIO, EACCES, EAGAIN, EINVAL or ENOSPC */
export function openSqliteStore(file: string, { monotonicMs = machineMs }: SqliteOptions = {}): SqliteStore {
  const database = attempt('store.open', file, () => new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS }));
  try {
    attempt('store.open', file, () => prepareSchema(database, file));
    return storeOn(database, file, monotonicMs);
  } catch (error) {
    database.close();
    throw error;
  }
}

const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Another after every start of the machine (random(4)). */
const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

/** From the prefix up to it and the last code point: a range of the index. */
const UNDER = 'FROM entries WHERE key >= ?1 AND key < ?1 || char(0x10FFFF)';

function storeOn(database: DatabaseSync, file: string, monotonicMs: () => number): SqliteStore {
  const boot = attempt('store.open', file, bootId);
  const select = database.prepare(`SELECT key, value, revision ${UNDER} ORDER BY key`);
  const stateUnder = database.prepare(`SELECT count(*) || ' ' || ifnull(max(revision), 0) AS state ${UNDER}`);
  const dataVersion = database.prepare('PRAGMA data_version');
  const revisionOf = database.prepare('SELECT revision FROM entries WHERE key = ?');
  const put = database.prepare('INSERT OR REPLACE INTO entries (key, value, revision, session) VALUES (?, ?, ?, ?)');
  const remove = database.prepare('DELETE FROM entries WHERE key = ?');
  const removeOf = database.prepare('DELETE FROM entries WHERE session = ?');
  const readRevision = database.prepare('SELECT value FROM revision');
  const writeRevision = database.prepare('UPDATE revision SET value = ?');
  const openSession = database.prepare('INSERT INTO sessions VALUES (?1, ?2, ?3, ?4 + ?3)');
  const renewSession = database.prepare('UPDATE sessions SET ends_ms = ?2 + ttl_ms WHERE id = ?1');
  const endSession = database.prepare('DELETE FROM sessions WHERE id = ?');
  const isSession = database.prepare('SELECT 1 FROM sessions WHERE id = ?');
  const over = database.prepare(
    'SELECT id FROM sessions WHERE boot <> ?1 OR ends_ms <= ?2 ORDER BY boot = ?1, ends_ms, id',
  );

  const revision = (): number => Number(readRevision.get()!['value']);

  /** Each end of a session that held anything is a change of its own. Returns whether it was one. */
  const end = (session: SessionId): boolean => {
    endSession.run(session);
    if (removeOf.run(session).changes === 0) return false;
    writeRevision.run(revision() + 1);
    return true;
  };
  const endOver = (): boolean =>
    over.all(boot, monotonicMs()).reduce((changed, { id }) => end(String(id)) || changed, false);

  const watches = new SqliteWatches({
    dataVersion: () => Number(dataVersion.get()!['data_version']),
    sweep,
    stateOf: (prefix) => String(stateUnder.get(prefix)!['state']),
  });

  /** Ends the sessions that are over, taking the file for it only where there is one. */
  function sweep(): boolean {
    return over.get(boot, monotonicMs()) !== undefined && inTransaction(database, endOver);
  }

  /** With all sessions ended that are over by now. */
  function change<T>(operation: string, target: string, work: () => T): T {
    const result = attempt(operation, target, () =>
      inTransaction(database, () => {
        endOver();
        return work();
      }),
    );
    watches.changed();
    return result;
  }

  const apply = (transaction: Transaction): Commit => {
    const before = revision();
    const stands = (key: string): number => Number(revisionOf.get(key)?.['revision'] ?? 0);
    if ((transaction.expect ?? []).some(({ key, revision }) => stands(key) !== revision))
      return { committed: false, revision: before };
    for (const { session } of transaction.put ?? [])
      if (session !== undefined && isSession.get(session) === undefined) throw sessionEnded(session);
    for (const key of transaction.remove ?? []) remove.run(key);
    for (const { key, value, session = null } of transaction.put ?? []) put.run(key, value, before + 1, session);
    writeRevision.run(before + 1);
    return { committed: true, revision: before + 1 };
  };

  return {
    read: async (prefix) =>
      attempt('store.read', prefix, () => {
        if (sweep()) watches.changed();
        return select.all(prefix).map(entryOf);
      }),
    async commit(transaction) {
      refuseTwice(transaction);
      return change('store.commit', file, () => apply(transaction));
    },
    watch: async (prefix, notify, signal) => attempt('store.watch', prefix, () => watches.add(prefix, notify, signal)),
    async openSession(ttlMs) {
      refuseTtl(ttlMs);
      const session = randomUUID();
      change('store.openSession', file, () => openSession.run(session, boot, ttlMs, monotonicMs()));
      return session;
    },
    renewSession: async (session) =>
      change('store.renewSession', session, () => renewSession.run(session, monotonicMs()).changes > 0),
    endSession: async (session) => void change('store.endSession', session, () => end(session)),
    close: () => {
      watches.close();
      if (database.isOpen) database.close();
    },
  };
}

const entryOf = (row: Record<string, unknown>): StoreEntry => ({
  key: String(row['key']),
  value: String(row['value']),
  revision: Number(row['revision']),
});
