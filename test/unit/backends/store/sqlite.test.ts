import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
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
  tamper('PRAGMA user_version = 2; PRAGMA journal_mode = DELETE');
  expect(() => openSqliteStore(file)).toThrow(/store version 2, this one knows 1\): upgrade/);
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
