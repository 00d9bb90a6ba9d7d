import { expect, it } from 'vitest';
import { createStore } from '../../../../backends/sim/store.ts';

it('reads by prefix, in order of key, each entry with the revision of its last change', async () => {
  const store = createStore();
  await store.commit({ put: ['b/2', 'a/1', 'b/1'].map((key) => ({ key, value: `"${key}"` })) });
  await store.commit({ put: [{ key: 'b/1', value: '"new"' }] });
  expect(await store.read('b/')).toEqual([
    { key: 'b/1', value: '"new"', revision: 2 },
    { key: 'b/2', value: '"b/2"', revision: 1 },
  ]);
  expect((await store.read('')).map(({ key }) => key)).toEqual(['a/1', 'b/1', 'b/2']);
});

it('commits all or nothing: every expectation must hold', async () => {
  const store = createStore();
  expect(await store.commit({ put: [{ key: 'a', value: '1' }] })).toEqual({ committed: true, revision: 1 });
  const expectations = [
    [{ key: 'a', revision: 0 }],
    [{ key: 'a', revision: 2 }],
    [{ key: 'b', revision: 1 }],
    [
      { key: 'a', revision: 1 },
      { key: 'b', revision: 1 },
    ],
  ];
  for (const expected of expectations) {
    const attempt = { expect: expected, put: [{ key: 'b', value: '2' }], remove: ['a'] };
    expect(await store.commit(attempt)).toEqual({ committed: false, revision: 1 });
    expect(await store.read('')).toEqual([{ key: 'a', value: '1', revision: 1 }]);
  }
  const good = [
    { key: 'a', revision: 1 },
    { key: 'b', revision: 0 },
  ];
  expect(await store.commit({ expect: good, put: [{ key: 'b', value: '2' }], remove: ['a'] })).toEqual({
    committed: true,
    revision: 2,
  });
  expect(await store.read('')).toEqual([{ key: 'b', value: '2', revision: 2 }]);
});

it('a removed key is not there: revision 0 holds for it again', async () => {
  const store = createStore();
  await store.commit({ put: [{ key: 'a', value: '1' }] });
  await store.commit({ remove: ['a', 'never'] });
  expect(await store.commit({ expect: [{ key: 'a', revision: 0 }], put: [{ key: 'a', value: '2' }] })).toEqual({
    committed: true,
    revision: 3,
  });
});

it('refuses a key that is named twice in one transaction', async () => {
  const store = createStore();
  const twice = store.commit({ put: [{ key: 'a', value: '1' }], remove: ['a'] });
  await expect(twice).rejects.toMatchObject({ code: 'EINVAL', operation: 'store.commit', target: 'a' });
  expect(await store.read('')).toEqual([]);
});
