import assert from 'node:assert/strict';
import type { Store } from '../../src/host/store.ts';
import { type StoreCase, type StoreFixture, waitUntil } from './store.ts';

/** Counts the calls of a watch; `stop` ends it. */
async function counting(store: Store, prefix: string): Promise<{ calls: number; stop: () => void }> {
  const abort = new AbortController();
  const counter = { calls: 0, stop: () => abort.abort() };
  await store.watch(prefix, () => void counter.calls++, abort.signal);
  return counter;
}

/** Long enough for any call that was under way. */
const QUIET_MS = 300;

/** This makes the watch call; afterwards all is quiet again. */
async function calls(
  fixture: StoreFixture,
  watch: { readonly calls: number },
  act: () => Promise<unknown>,
  what: string,
): Promise<void> {
  const before = watch.calls;
  await act();
  await waitUntil(fixture, () => watch.calls > before, what);
  await fixture.sleep(QUIET_MS);
}

/** Watches: who waits for a change learns of it. */
export const watchContract: readonly StoreCase[] = [
  {
    name: 'a watch is called after a put, a change and a removal under its prefix, by its own handle and by another',
    async run(fixture) {
      const { store, another } = fixture;
      const watch = await counting(store, 'a/');
      for (const writer of [store, another]) {
        await calls(fixture, watch, () => writer.commit({ put: [{ key: 'a/1', value: '1' }] }), 'a put');
        await calls(fixture, watch, () => writer.commit({ put: [{ key: 'a/1', value: '2' }] }), 'a change');
        await calls(fixture, watch, () => writer.commit({ remove: ['a/1'] }), 'a removal');
      }
      watch.stop();
    },
  },
  {
    name: 'a watch is called after a session ended or was over that held something under its prefix',
    async run(fixture) {
      const { store, another, ttlMs } = fixture;
      const watches = [await counting(store, 'a/'), await counting(another, 'a/')];
      for (const how of ['ended', 'over'] as const) {
        const session = await another.openSession(how === 'ended' ? 60_000 : ttlMs);
        await another.commit({ put: [{ key: 'a/1', value: '1', session }] });
        await waitUntil(fixture, () => watches.every(({ calls }) => calls > 0), 'the put');
        await fixture.sleep(Math.min(QUIET_MS, ttlMs / 2));
        for (const watch of watches) watch.calls = 0;
        if (how === 'ended') await another.endSession(session);
        await waitUntil(fixture, () => watches.every(({ calls }) => calls > 0), `a session that is ${how}`);
        assert.deepEqual(await store.read('a/'), []);
        for (const watch of watches) watch.calls = 0;
      }
      for (const watch of watches) watch.stop();
    },
  },
  {
    name: 'a watch is not called for other keys, nor for a commit that was not done',
    async run(fixture) {
      const { store, another } = fixture;
      const watch = await counting(store, 'a/');
      const all = await counting(store, '');
      const session = await store.openSession(60_000);
      for (const writer of [store, another]) {
        await writer.commit({ put: ['b', 'a', 'a0', 'A/1'].map((key) => ({ key, value: '1' })) });
        await writer.commit({ put: [{ key: 'b', value: '2', session }], remove: ['a0'] });
        await writer.commit({ expect: [{ key: 'b', revision: 0 }], put: [{ key: 'a/1', value: '1' }] });
      }
      await store.endSession(session);
      await waitUntil(fixture, () => all.calls > 0, 'a watch of everything');
      await fixture.sleep(QUIET_MS);
      assert.equal(watch.calls, 0);
      watch.stop();
      all.stop();
    },
  },
  {
    name: 'after its signal a watch is called no more, and other watches go on; one whose signal came before never begins',
    async run(fixture) {
      const { store, another } = fixture;
      const [stopped, going] = [await counting(store, ''), await counting(store, '')];
      await calls(fixture, going, () => another.commit({ put: [{ key: 'a', value: '1' }] }), 'a put');
      assert.ok(stopped.calls > 0);
      stopped.stop();
      const before = stopped.calls;
      let never = 0;
      await store.watch('', () => void never++, AbortSignal.abort());
      await calls(fixture, going, () => another.commit({ put: [{ key: 'a', value: '2' }] }), 'a put');
      await calls(fixture, going, () => store.commit({ put: [{ key: 'a', value: '3' }] }), 'a put of its own');
      assert.equal(stopped.calls, before);
      assert.equal(never, 0);
      going.stop();
    },
  },
  {
    name: 'what is committed once a watch has resolved is never missed',
    async run(fixture) {
      const { store, another } = fixture;
      for (let round = 0; round < 20; round++) {
        const watch = await counting(store, 'a');
        await another.commit({ put: [{ key: 'a', value: String(round) }] });
        await waitUntil(fixture, () => watch.calls > 0, `the commit right after watch ${round}`);
        watch.stop();
      }
    },
  },
  {
    name: 'who reads at every call has in the end read the last state, however fast the changes come',
    async run(fixture) {
      const { store, another } = fixture;
      const abort = new AbortController();
      let seen = '';
      let underWay = 0;
      const look = async (): Promise<void> => {
        underWay++;
        seen = (await store.read('a'))[0]?.value ?? '';
        underWay--;
      };
      await store.watch('a', () => void look(), abort.signal);
      for (let round = 1; round <= 50; round++) await another.commit({ put: [{ key: 'a', value: String(round) }] });
      await waitUntil(fixture, () => seen === '50' && underWay === 0, 'the last of 50 changes');
      abort.abort();
    },
  },
];
