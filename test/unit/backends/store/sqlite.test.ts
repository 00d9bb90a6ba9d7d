import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openSqliteStore } from '../../../../backends/store/sqlite.ts';
import { createStore } from '../../../../backends/sim/store.ts';
import type { Store } from '../../../../src/host/store.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'store-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const put = (key: string, value = '{}') => ({ put: [{ key, value }] });

describe.each<[string, () => Store]>([
  ['the store in a file', () => openSqliteStore(join(folder, 'store.sqlite'))],
  ['the store in memory', createStore],
])('%s', (_name, open) => {
  test('gives back what was put, by prefix, in order of key', async () => {
    const store = open();
    await store.commit({
      put: [
        { key: 'b/2', value: '2' },
        { key: 'b/1', value: '1' },
        { key: 'c', value: '3' },
      ],
    });
    expect(await store.read('b/')).toEqual([
      { key: 'b/1', value: '1', revision: 1 },
      { key: 'b/2', value: '2', revision: 1 },
    ]);
    await store.commit({ remove: ['b/1'], ...put('b/2', 'new') });
    expect(await store.read('')).toEqual([
      { key: 'b/2', value: 'new', revision: 2 },
      { key: 'c', value: '3', revision: 1 },
    ]);
  });

  test('takes a prefix as it is written', async () => {
    const store = open();
    await store.commit({
      put: [
        { key: 'a%b', value: '1' },
        { key: 'axb', value: '2' },
        { key: 'A%b', value: '3' },
      ],
    });
    expect((await store.read('a%')).map(({ key }) => key)).toEqual(['a%b']);
  });

  test('does nothing where an expectation does not hold', async () => {
    const store = open();
    expect(await store.commit({ expect: [{ key: 'a', revision: 0 }], ...put('a') })).toEqual({
      committed: true,
      revision: 1,
    });
    expect(await store.commit({ expect: [{ key: 'a', revision: 0 }], ...put('b') })).toEqual({
      committed: false,
      revision: 1,
    });
    expect(await store.commit({ expect: [{ key: 'a', revision: 1 }], remove: ['a'] })).toEqual({
      committed: true,
      revision: 2,
    });
    expect(await store.read('')).toEqual([]);
  });

  test('refuses a key named twice in one transaction', async () => {
    const store = open();
    await expect(store.commit({ remove: ['a'], ...put('a') })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

describe('the store in a file', () => {
  test('outlives those who opened it, and serves two at a time', async () => {
    const file = join(folder, 'store.sqlite');
    const [one, other] = [openSqliteStore(file), openSqliteStore(file)];
    await one.commit(put('a'));
    await other.commit(put('b'));
    one.close();
    other.close();
    expect(await openSqliteStore(file).read('')).toEqual([
      { key: 'a', value: '{}', revision: 1 },
      { key: 'b', value: '{}', revision: 2 },
    ]);
  });

  test('says which file cannot be opened', () => {
    expect(() => openSqliteStore(join(folder, 'no', 'store.sqlite'))).toThrow(/store\.open .*store\.sqlite/);
  });
});
