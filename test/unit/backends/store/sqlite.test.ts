import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openSqliteStore } from '../../../../backends/store/sqlite.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'plimsoll-store-'));
  file = path.join(folder, 'store.db');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Changes the file as no Plimsoll would. */
function tamper(sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

test('the file has a write-ahead log, so that a reader never waits for a writer', () => {
  openSqliteStore(file).close();
  const database = new DatabaseSync(file);
  expect(database.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
  database.close();
});

test('a file that is no database is refused and left as it is', () => {
  writeFileSync(file, 'memory: 512Mi\n'.repeat(100));
  expect(() => openSqliteStore(file)).toThrow(
    expect.objectContaining({ name: 'HostError', code: 'EIO', operation: 'store.open', target: file }),
  );
  expect(() => openSqliteStore(file)).toThrow(/move it away/);
  expect(readFileSync(file, 'utf8')).toBe('memory: 512Mi\n'.repeat(100));
});

test('a store cut short is refused when opened or read, with what to do', async () => {
  const store = openSqliteStore(file);
  await store.commit({
    put: Array.from({ length: 500 }, (_, index) => ({ key: `k/${index}`, value: 'x'.repeat(100) })),
  });
  store.close();
  truncateSync(file, 20_000);
  const openAndRead = async (): Promise<unknown> => await openSqliteStore(file).read('k/');
  await expect(openAndRead()).rejects.toThrow(expect.objectContaining({ name: 'HostError', code: 'EIO' }));
  await expect(openAndRead()).rejects.toThrow(/move it away/);
});

test('a store of a newer Plimsoll is refused, and nothing of it is changed', () => {
  openSqliteStore(file).close();
  tamper('PRAGMA user_version = 3; PRAGMA journal_mode = DELETE');
  expect(() => openSqliteStore(file)).toThrow(/store version 3, this one knows 2\): upgrade/);
});

test("another program's database is refused and left as it is", () => {
  tamper('CREATE TABLE songs (title TEXT)');
  const before = readFileSync(file);
  expect(() => openSqliteStore(file)).toThrow(/another program's database/);
  expect(readFileSync(file).equals(before)).toBe(true);
});

test('a folder that is not there is named', () => {
  const nowhere = path.join(folder, 'nowhere', 'store.db');
  expect(() => openSqliteStore(nowhere)).toThrow(
    expect.objectContaining({ code: 'ENOENT', operation: 'store.open', target: nowhere }),
  );
});

test('a commit that fails midway leaves nothing and the store usable', async () => {
  const store = openSqliteStore(file);
  await store.commit({ put: [{ key: 'a', value: '1' }] });
  tamper(
    "CREATE TRIGGER refuse BEFORE INSERT ON entries WHEN NEW.key = 'bad' BEGIN SELECT RAISE(ABORT, 'refused'); END",
  );
  const mixed = { put: ['good', 'bad'].map((key) => ({ key, value: '2' })), remove: ['a'] };
  await expect(store.commit(mixed)).rejects.toThrow(
    expect.objectContaining({ name: 'HostError', code: 'EIO', operation: 'store.commit', target: file }),
  );
  expect((await store.read('')).map(({ key }) => key)).toEqual(['a']);
  expect((await store.commit({ put: [{ key: 'c', value: '3' }] })).committed).toBe(true);
  store.close();
});

test('a store of version 1 is brought up to date: what it held stays, and sessions can be had', async () => {
  tamper(`
    CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE revision (only_one INTEGER PRIMARY KEY CHECK (only_one = 0), value INTEGER NOT NULL) STRICT;
    INSERT INTO revision VALUES (0, 7);
    INSERT INTO entries VALUES ('a', '1', 7);
    PRAGMA application_id = 1349282157;
    PRAGMA user_version = 1`);
  const store = openSqliteStore(file);
  expect(await store.read('')).toEqual([{ key: 'a', value: '1', revision: 7 }]);
  const session = await store.openSession(60_000);
  expect(await store.commit({ put: [{ key: 'b', value: '2', session }] })).toEqual({ committed: true, revision: 8 });
  await store.endSession(session);
  expect(await store.read('')).toEqual([{ key: 'a', value: '1', revision: 7 }]);
  store.close();
  const again = openSqliteStore(file);
  expect(await again.read('')).toEqual([{ key: 'a', value: '1', revision: 7 }]);
  again.close();
});

test('a session of another boot of the machine has ended, whatever its clock says', async () => {
  const before = openSqliteStore(file);
  const session = await before.openSession(60_000);
  await before.commit({ put: [{ key: 'a', value: '1', session }] });
  before.close();
  tamper("UPDATE sessions SET boot = 'the one before', ends_ms = 1e18");
  const store = openSqliteStore(file);
  expect(await store.read('')).toEqual([]);
  expect(await store.renewSession(session)).toBe(false);
  store.close();
});

test('a session lives on when the handle that opened it is closed, and ends by the clock', async () => {
  let nowMs = 0;
  const first = openSqliteStore(file, { monotonicMs: () => nowMs });
  const session = await first.openSession(100);
  await first.commit({ put: [{ key: 'a', value: '1', session }] });
  first.close();
  const second = openSqliteStore(file, { monotonicMs: () => nowMs });
  nowMs = 99;
  expect(await second.read('')).toHaveLength(1);
  expect(await second.renewSession(session)).toBe(true);
  nowMs = 198;
  expect(await second.read('')).toHaveLength(1);
  nowMs = 199;
  expect(await second.read('')).toEqual([]);
  second.close();
});

test('a watcher of another handle learns of a change within 100 ms, and keeps no process alive', async () => {
  const [store, another] = [openSqliteStore(file), openSqliteStore(file)];
  const abort = new AbortController();
  for (let round = 0; round < 5; round++) {
    const called = new Promise<number>((resolve) => {
      void store.watch('a', () => resolve(performance.now()), abort.signal);
    });
    const beganMs = performance.now();
    await another.commit({ put: [{ key: 'a', value: String(round) }] });
    expect((await called) - beganMs).toBeLessThan(100);
  }
  store.close();
  another.close();
  const program = `
    import { openSqliteStore } from ${JSON.stringify(new URL('../../../../backends/store/sqlite.ts', import.meta.url).href)};
    await openSqliteStore(${JSON.stringify(file)}).watch('', () => undefined, new AbortController().signal);`;
  await execa(process.execPath, ['--input-type=module', '--eval', program], { timeout: 10_000 });
});

test('a store that can be read no longer calls who waits, so that it is told when it reads; once', async () => {
  const store = openSqliteStore(file);
  let calls = 0;
  await store.watch('', () => void calls++, new AbortController().signal);
  tamper('DROP TABLE entries');
  await vi.waitFor(() => expect(calls).toBe(1), { interval: 10 });
  await expect(store.read('')).rejects.toThrow(expect.objectContaining({ code: 'EIO' }));
  await sleep(100);
  expect(calls).toBe(1);
  store.close();
});
