import assert from 'node:assert/strict';
import type { HostError } from '../../src/host/errors.ts';
import type { Store } from '../../src/host/store.ts';

/** What every store must do, said once. Time goes on while a body runs, real or virtual. */
export interface StoreCase {
  readonly name: string;
  run(fixture: StoreFixture): Promise<void>;
}

/** A fresh store and what a body needs around it. */
export interface StoreFixture {
  readonly store: Store;
  /** A second handle on the same store, as another process or host has it. */
  readonly another: Store;
  /** A short session that this store can keep. */
  readonly ttlMs: number;
  readonly sleep: (delayMs: number) => Promise<void>;
}

/** How long is patiently waited for what must come soon: an etcd under load answers late. */
const PATIENCE_MS = 20_000;

/** Lets time go on until the predicate holds. Fails, naming `what`, after a generous limit. */
export async function waitUntil(
  { sleep }: StoreFixture,
  predicate: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  for (let waitedMs = 0; !(await predicate()); waitedMs += 10) {
    if (waitedMs > PATIENCE_MS) throw new Error(`waited ${PATIENCE_MS} ms for ${what}`);
    await sleep(10);
  }
}

/** The promise is refused so. */
export const assertRefused = (
  promise: Promise<unknown>,
  expected: Pick<HostError, 'code' | 'operation' | 'target'>,
): Promise<void> =>
  assert.rejects(promise, (error: HostError) => {
    const { name, code, operation, target } = error;
    assert.deepEqual({ name, code, operation, target }, { name: 'HostError', ...expected });
    return true;
  });

const pairs = async (store: Store, prefix: string): Promise<readonly (readonly [string, string])[]> =>
  (await store.read(prefix)).map(({ key, value }) => [key, value]);

export const storeContract: readonly StoreCase[] = [
  {
    name: 'an empty store reads as nothing',
    async run({ store }) {
      assert.deepEqual(await store.read(''), []);
    },
  },
  {
    name: 'what was put is read, with the revision of its commit',
    async run({ store }) {
      const { committed, revision } = await store.commit({ put: [{ key: 'requests/web', value: '{"a":"ü"}' }] });
      assert.equal(committed, true);
      assert.deepEqual(await store.read('requests/web'), [{ key: 'requests/web', value: '{"a":"ü"}', revision }]);
    },
  },
  {
    name: 'a prefix gives all keys that begin with it and no others, in order of key, wildcards meaning nothing',
    async run({ store }) {
      const keys = ['b/2', 'b/10', 'b/1', 'a%c', 'a_c', 'abc', 'aXc', 'b', 'B/1', 'b0'];
      await store.commit({ put: keys.map((key) => ({ key, value: key })) });
      const read = async (prefix: string): Promise<readonly string[]> =>
        (await store.read(prefix)).map(({ key }) => key);
      assert.deepEqual(await read('b/'), ['b/1', 'b/10', 'b/2']);
      assert.deepEqual(await read('a%'), ['a%c']);
      assert.deepEqual(await read('a_'), ['a_c']);
      assert.deepEqual(await read('b'), ['b', 'b/1', 'b/10', 'b/2', 'b0']);
      assert.deepEqual(await read(''), keys.toSorted());
    },
  },
  {
    name: 'keys are in order of code points, which is that of their bytes',
    async run({ store }) {
      // In UTF-16 the last two would stand the other way round.
      const keys = ['a', 'ab', 'b', 'é', '\uFF5E', '😀'];
      await store.commit({ put: keys.toReversed().map((key) => ({ key, value: key })) });
      assert.deepEqual(
        (await store.read('')).map(({ key }) => key),
        keys,
      );
    },
  },
  {
    name: 'revisions grow with every commit, over all keys; an untouched key keeps its own',
    async run({ store }) {
      const first = await store.commit({ put: [{ key: 'a', value: '1' }] });
      const second = await store.commit({ put: [{ key: 'b', value: '1' }] });
      const third = await store.commit({ put: [{ key: 'b', value: '2' }] });
      assert.ok(0 < first.revision && first.revision < second.revision && second.revision < third.revision);
      assert.deepEqual(
        (await store.read('')).map(({ key, revision }) => [key, revision]),
        [
          ['a', first.revision],
          ['b', third.revision],
        ],
      );
    },
  },
  {
    name: 'an expectation that holds lets the commit through: a revision, or 0 for a key that is not there',
    async run({ store }) {
      const { revision } = await store.commit({
        expect: [{ key: 'lease', revision: 0 }],
        put: [{ key: 'lease', value: 'me' }],
      });
      const renewed = await store.commit({
        expect: [{ key: 'lease', revision }],
        put: [{ key: 'lease', value: 'still' }],
      });
      assert.equal(renewed.committed, true);
      assert.deepEqual(await pairs(store, 'lease'), [['lease', 'still']]);
    },
  },
  {
    name: 'an expectation that does not hold changes nothing, not even the revision',
    async run({ store }) {
      const { revision } = await store.commit({ put: [{ key: 'a', value: '1' }] });
      const before = await store.read('');
      for (const expected of [0, revision + 1, revision - 1].filter((each) => each !== revision)) {
        const refused = await store.commit({
          expect: [
            { key: 'not there', revision: 0 },
            { key: 'a', revision: expected },
          ],
          put: [
            { key: 'a', value: '2' },
            { key: 'b', value: '2' },
          ],
        });
        assert.deepEqual(refused, { committed: false, revision });
      }
      const removal = await store.commit({ expect: [{ key: 'b', revision }], remove: ['a'] });
      assert.deepEqual(removal, { committed: false, revision });
      assert.deepEqual(await store.read(''), before);
    },
  },
  {
    name: 'put and remove of one commit come together; a key that is gone already is no error',
    async run({ store }) {
      await store.commit({ put: ['a', 'b'].map((key) => ({ key, value: '1' })) });
      const { committed } = await store.commit({ put: [{ key: 'c', value: '2' }], remove: ['a', 'never there'] });
      assert.equal(committed, true);
      assert.deepEqual(await pairs(store, ''), [
        ['b', '1'],
        ['c', '2'],
      ]);
    },
  },
  {
    name: 'a key removed and put again is a new one: its old revision is refused',
    async run({ store }) {
      const { revision } = await store.commit({ put: [{ key: 'a', value: '1' }] });
      await store.commit({ remove: ['a'] });
      await store.commit({ put: [{ key: 'a', value: '1' }] });
      assert.equal((await store.commit({ expect: [{ key: 'a', revision }], remove: ['a'] })).committed, false);
    },
  },
  {
    name: 'a key named twice in one transaction is refused, and nothing is done',
    async run({ store }) {
      const twice = { put: [{ key: 'a', value: '1' }], remove: ['a'] };
      await assertRefused(store.commit(twice), { code: 'EINVAL', operation: 'store.commit', target: 'a' });
      assert.deepEqual(await store.read(''), []);
    },
  },
  {
    name: 'of commits that race for one key by its revision exactly one wins each round',
    async run({ store, another }) {
      for (let round = 0; round < 10; round++) {
        const revision = (await store.read('lease'))[0]?.revision ?? 0;
        const outcomes = await Promise.all(
          [store, another, store].map((each, index) =>
            each.commit({ expect: [{ key: 'lease', revision }], put: [{ key: 'lease', value: String(index) }] }),
          ),
        );
        assert.equal(outcomes.filter(({ committed }) => committed).length, 1);
      }
    },
  },
  {
    name: 'of many commits at once through two handles none is lost',
    async run({ store, another }) {
      const add = async (handle: Store): Promise<number> => {
        for (let tries = 1; ; tries++) {
          const [entry] = await handle.read('counter');
          const { committed } = await handle.commit({
            expect: [{ key: 'counter', revision: entry?.revision ?? 0 }],
            put: [{ key: 'counter', value: String(Number(entry?.value ?? 0) + 1) }],
          });
          if (committed) return tries;
        }
      };
      await Promise.all(Array.from({ length: 20 }, (_, index) => add(index % 2 === 0 ? store : another)));
      assert.deepEqual(await pairs(another, ''), [['counter', '20']]);
    },
  },
  {
    name: 'what one handle has committed the other reads',
    async run({ store, another }) {
      for (let round = 1; round <= 5; round++) {
        const { revision } = await store.commit({ put: [{ key: 'a', value: String(round) }] });
        assert.deepEqual(await another.read('a'), [{ key: 'a', value: String(round), revision }]);
      }
    },
  },
];
