import { describe, expect, test } from 'vitest';
import { createStore } from '../../../backends/sim/store.ts';
import { changeOf, endingOf, readAsked } from '../../../src/engine/asked.ts';
import type { Desired } from '../../../src/engine/desired.ts';
import type { Store } from '../../../src/host/store.ts';

const desired = (...names: string[]): Desired =>
  ({
    memory: { policy: { name: 'gaia' }, line: { hardLimitBytes: 1 }, dry: false },
    containers: names.map((name) => ({
      name,
      requestBytes: 5,
      priority: 0,
      workload: { memory: { kind: 'constant', bytes: 1 } },
    })),
  }) as unknown as Desired;

async function ask(store: Store, to: Desired | null): Promise<void> {
  await store.commit(changeOf(await readAsked(store, 'h'), to));
}

describe('what was asked', () => {
  test('nothing was asked of an empty store', async () =>
    expect(await readAsked(createStore(), 'h')).toEqual({
      host: 'h',
      desired: null,
      ended: new Set(),
      held: { vfs: [], pfs: [] },
    }));

  test('is read back as it was asked', async () => {
    const store = createStore();
    await ask(store, desired('a', 'b'));
    expect((await readAsked(store, 'h')).desired).toEqual(desired('a', 'b'));
  });

  test('only what differs is written', async () => {
    const store = createStore();
    await ask(store, desired('a', 'b'));
    const change = changeOf(await readAsked(store, 'h'), desired('a', 'c'));
    expect(change.put?.map(({ key }) => key)).toEqual(['hosts/h/containers/c']);
    expect(change.remove).toEqual(['hosts/h/containers/b']);
  });

  test('an end is kept while the container is asked for, and forgotten with it', async () => {
    const store = createStore();
    await ask(store, desired('a', 'b'));
    await store.commit(endingOf('h', ['a', 'b']));
    await ask(store, desired('a'));
    expect((await readAsked(store, 'h')).ended).toEqual(new Set(['a']));
  });

  test('what another host was asked in the same store is not read, nor touched', async () => {
    const store = createStore();
    await ask(store, desired('a'));
    await store.commit(changeOf(await readAsked(store, 'h2'), desired('b')));
    expect((await readAsked(store, 'h')).desired).toEqual(desired('a'));
    await ask(store, null);
    expect((await readAsked(store, 'h2')).desired).toEqual(desired('b'));
  });

  test('asking for nothing leaves nothing', async () => {
    const store = createStore();
    await ask(store, desired('a'));
    await store.commit(endingOf('h', ['a']));
    await ask(store, null);
    expect(await store.read('')).toEqual([]);
  });
});
