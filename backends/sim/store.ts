import { HostError } from '../../src/host/errors.ts';
import type { Commit, SessionId, Store, StoreEntry, Transaction } from '../../src/host/store.ts';
import { type Event, EventQueue } from './events.ts';

interface Session {
  readonly ttlMs: number;
  endsMs: number;
  /** When it may end: one object for all renewals. */
  readonly event: Event;
}

interface Watcher {
  readonly prefix: string;
  readonly notify: () => void;
  /** Of the notification under way: several changes come as one. */
  isCalled: boolean;
}

type Kept = StoreEntry & { readonly session: SessionId | undefined };

/**
 * A store in memory that lives by virtual time. One is shared by all hosts of a simulation; it outlives a crash of an
 * engine, as a file on disk does. Without a queue of events its time stands still.
 */
export function createStore(events = new EventQueue()): Store {
  const entries = new Map<string, Kept>();
  const sessions = new Map<SessionId, Session>();
  const watchers = new Set<Watcher>();
  let revision = 0;
  let opened = 0;

  const holds = ({ expect = [] }: Transaction): boolean =>
    expect.every(({ key, revision }) => (entries.get(key)?.revision ?? 0) === revision);

  /** An event of its own: whoever waits is woken in the simulation's order, and not within the commit. */
  const changed = (keys: readonly string[]): void => {
    for (const watcher of watchers) {
      if (watcher.isCalled || !keys.some((key) => key.startsWith(watcher.prefix))) continue;
      watcher.isCalled = true;
      const call = (): void => {
        watcher.isCalled = false;
        if (watchers.has(watcher)) watcher.notify();
      };
      events.at(events.nowMs, call, true);
    }
  };

  const end = (id: SessionId): void => {
    const session = sessions.get(id);
    if (session === undefined) return;
    session.event.cancelled = true;
    sessions.delete(id);
    const keys = [...entries.values()].filter(({ session }) => session === id).map(({ key }) => key);
    if (keys.length === 0) return;
    revision++;
    for (const key of keys) entries.delete(key);
    changed(keys);
  };

  /** Those that are over at this very moment, whose own event may be still to come. */
  const endOver = (): void => {
    const over = [...sessions].filter(([, { endsMs }]) => endsMs <= events.nowMs);
    for (const [id] of over.sort(([, a], [, b]) => a.endsMs - b.endsMs)) end(id);
  };

  const openSession = (ttlMs: number): SessionId => {
    const id = `session ${++opened}`;
    const expire = (): void => {
      const { event, endsMs } = sessions.get(id)!;
      if (endsMs <= events.nowMs) end(id);
      else events.again(event, endsMs);
    };
    const endsMs = events.nowMs + ttlMs;
    sessions.set(id, { ttlMs, endsMs, event: events.at(endsMs, expire) });
    return id;
  };

  const renew = (id: SessionId): boolean => {
    const session = sessions.get(id);
    if (session !== undefined) session.endsMs = events.nowMs + session.ttlMs;
    return session !== undefined;
  };

  const commit = (transaction: Transaction): Commit => {
    const { put = [], remove = [] } = transaction;
    refuseTwice([...put.map(({ key }) => key), ...remove]);
    if (!holds(transaction)) return { committed: false, revision };
    for (const { session } of put)
      if (session !== undefined && !sessions.has(session))
        throw new HostError('ESRCH', 'store.commit', session, { detail: 'the session has ended: open another' });
    revision++;
    const removed = remove.filter((key) => entries.delete(key));
    for (const { key, value, session } of put) entries.set(key, { key, value, revision, session });
    changed([...put.map(({ key }) => key), ...removed]);
    return { committed: true, revision };
  };

  const read = (prefix: string): StoreEntry[] =>
    [...entries.values()]
      .filter(({ key }) => key.startsWith(prefix))
      .sort((a, b) => compareCodePoints(a.key, b.key))
      .map(({ key, value, revision }) => ({ key, value, revision }));

  /** Every verb finds those sessions ended that are over. */
  const now = async <T>(act: () => T): Promise<T> => {
    endOver();
    return act();
  };

  return {
    read: (prefix) => now(() => read(prefix)),
    commit: (transaction) => now(() => commit(transaction)),
    watch: (prefix, notify, signal) =>
      now(() => {
        if (signal.aborted) return;
        const watcher = { prefix, notify, isCalled: false };
        watchers.add(watcher);
        signal.addEventListener('abort', () => watchers.delete(watcher), { once: true });
      }),
    openSession: (ttlMs) =>
      now(() => {
        if (!(ttlMs > 0 && Number.isFinite(ttlMs)))
          throw new HostError('EINVAL', 'store.openSession', `${ttlMs} ms`, {
            detail: 'a session lives for some time',
          });
        return openSession(ttlMs);
      }),
    renewSession: (session) => now(() => renew(session)),
    endSession: (session) => now(() => end(session)),
  };
}

/** The order of UTF-8's bytes, in which the other stores keep their keys; that of UTF-16 differs above U+FFFF. */
function compareCodePoints(a: string, b: string): number {
  for (let index = 0; ;) {
    const left = a.codePointAt(index);
    const right = b.codePointAt(index);
    if (left === undefined || right === undefined) return a.length - b.length;
    if (left !== right) return left - right;
    index += left > 0xffff ? 2 : 1;
  }
}

function refuseTwice(keys: readonly string[]): void {
  const twice = keys.find((key, index) => keys.indexOf(key) !== index);
  if (twice !== undefined)
    throw new HostError('EINVAL', 'store.commit', twice, { detail: 'named twice in one transaction' });
}
