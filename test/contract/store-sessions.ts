import assert from 'node:assert/strict';
import type { Store } from '../../src/host/store.ts';
import { assertRefused, type StoreCase, type StoreFixture, waitUntil } from './store.ts';

const keys = async (store: Store): Promise<readonly string[]> => (await store.read('')).map(({ key }) => key);

/** Lets a session end of itself, and says once all that was in it is gone. */
const waitForNone = (fixture: StoreFixture, prefix: string): Promise<void> =>
  waitUntil(fixture, async () => (await fixture.store.read(prefix)).length === 0, `no entry under ${prefix}`);

/** A session that nothing in a body ends by itself. */
const LONG_MS = 60_000;

/** Sessions: what was put in one lives as long as whoever renews it. */
export const sessionContract: readonly StoreCase[] = [
  {
    name: 'what was put in a session vanishes when it ends, and nothing else; to end it again is no error',
    async run({ store, another }) {
      const session = await store.openSession(LONG_MS);
      const other = await store.openSession(LONG_MS);
      await store.commit({
        put: [
          { key: 'a', value: '1', session },
          { key: 'b', value: '1', session },
          { key: 'c', value: '1', session: other },
          { key: 'd', value: '1' },
        ],
      });
      assert.deepEqual(await keys(another), ['a', 'b', 'c', 'd']);
      await store.endSession(session);
      assert.deepEqual(await keys(another), ['c', 'd']);
      await store.endSession(session);
      await another.endSession(session);
      assert.deepEqual(await keys(store), ['c', 'd']);
    },
  },
  {
    name: 'a session that is not renewed lives for its time and then ends of itself',
    async run(fixture) {
      const { store, another, ttlMs } = fixture;
      const session = await store.openSession(ttlMs);
      await store.commit({
        put: [
          { key: 'a', value: '1', session },
          { key: 'b', value: '1' },
        ],
      });
      await fixture.sleep(ttlMs / 2);
      assert.deepEqual(await keys(another), ['a', 'b']);
      await waitForNone(fixture, 'a');
      assert.deepEqual(await keys(another), ['b']);
      assert.equal(await store.renewSession(session), false);
      await store.endSession(session);
    },
  },
  {
    name: 'a session that is renewed in time lives on, whichever handle renews it',
    async run(fixture) {
      const { store, another, ttlMs } = fixture;
      const session = await store.openSession(ttlMs);
      await store.commit({ put: [{ key: 'a', value: '1', session }] });
      for (let round = 0; round < 8; round++) {
        await fixture.sleep(ttlMs / 4);
        assert.equal(await (round % 2 === 0 ? store : another).renewSession(session), true);
      }
      assert.deepEqual(await keys(another), ['a']);
      await waitForNone(fixture, 'a');
    },
  },
  {
    name: 'in a session that has ended nothing can be put, and nothing of that commit is done',
    async run({ store, another }) {
      const session = await store.openSession(LONG_MS);
      const { revision } = await store.commit({
        put: [
          { key: 'a', value: '1', session },
          { key: 'b', value: '1' },
        ],
      });
      await another.endSession(session);
      assert.equal(await store.renewSession(session), false);
      const before = await store.read('');
      const late = {
        put: [
          { key: 'c', value: '2' },
          { key: 'a', value: '2', session },
        ],
        remove: ['b'],
      };
      await assertRefused(store.commit(late), { code: 'ESRCH', operation: 'store.commit', target: session });
      // What was expected comes first.
      const stale = await store.commit({ ...late, expect: [{ key: 'a', revision }] });
      assert.equal(stale.committed, false);
      assert.deepEqual(await store.read(''), before);
    },
  },
  {
    name: 'a session that never was has ended',
    async run({ store }) {
      assert.equal(await store.renewSession('no such session'), false);
      await store.endSession('no such session');
      const put = [{ key: 'a', value: '1', session: 'no such session' }];
      await assertRefused(store.commit({ put }), {
        code: 'ESRCH',
        operation: 'store.commit',
        target: 'no such session',
      });
    },
  },
  {
    name: 'a key put again without a session or in another one is not removed with the first',
    async run({ store }) {
      const session = await store.openSession(LONG_MS);
      const other = await store.openSession(LONG_MS);
      await store.commit({ put: ['a', 'b', 'c'].map((key) => ({ key, value: '1', session })) });
      await store.commit({
        put: [
          { key: 'a', value: '2' },
          { key: 'b', value: '2', session: other },
        ],
      });
      await store.endSession(session);
      assert.deepEqual(await keys(store), ['a', 'b']);
      await store.endSession(other);
      assert.deepEqual(await keys(store), ['a']);
    },
  },
  {
    name: 'the end of a session is a change: the old revision of what was in it is refused, and the store has a new one',
    async run(fixture) {
      const { store, another } = fixture;
      for (const how of ['ended', 'over'] as const) {
        const session = await store.openSession(how === 'ended' ? LONG_MS : fixture.ttlMs);
        const { revision } = await store.commit({ put: [{ key: 'lease', value: 'me', session }] });
        if (how === 'ended') await store.endSession(session);
        else await waitForNone(fixture, 'lease');
        const old = await another.commit({ expect: [{ key: 'lease', revision }], put: [{ key: 'x', value: '' }] });
        assert.equal(old.committed, false);
        assert.ok(old.revision > revision, `${old.revision} is not after ${revision}`);
        const next = await another.commit({
          expect: [{ key: 'lease', revision: 0 }],
          put: [{ key: 'lease', value: 'you' }],
        });
        assert.equal(next.committed, true);
        await another.commit({ remove: ['lease'] });
      }
    },
  },
  {
    name: 'a session for no time, or for ever, is refused',
    async run({ store }) {
      for (const ttlMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
        await assertRefused(store.openSession(ttlMs), {
          code: 'EINVAL',
          operation: 'store.openSession',
          target: `${ttlMs} ms`,
        });
    },
  },
];
