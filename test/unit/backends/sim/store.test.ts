import { expect, it } from 'vitest';
import { EventQueue } from '../../../../backends/sim/events.ts';
import { createSimulation } from '../../../../backends/sim/simulation.ts';
import { createStore } from '../../../../backends/sim/store.ts';
import { bytes, GIB } from '../../../../src/host/units.ts';

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

it('who waits is called by an event of its own, after the commit, and several changes come as one', async () => {
  const events = new EventQueue();
  const store = createStore(events);
  let calls = 0;
  await store.watch('a', () => void calls++, new AbortController().signal);
  await store.commit({ put: [{ key: 'a', value: '1' }] });
  await store.commit({ put: [{ key: 'a', value: '2' }] });
  await store.commit({ remove: ['a/never'] });
  expect(calls).toBe(0);
  const event = events.take()!;
  expect(event.wakes).toBe(true);
  event.run();
  expect(calls).toBe(1);
  expect(events.take()).toBeUndefined();
});

it('a session ends at its very time, before whatever else finds it then', async () => {
  const events = new EventQueue();
  const store = createStore(events);
  events.at(100, () => undefined);
  const session = await store.openSession(100);
  await store.commit({ put: [{ key: 'a', value: '1', session }] });
  events.take();
  expect(events.nowMs).toBe(100);
  expect(await store.read('')).toEqual([]);
  expect(await store.renewSession(session)).toBe(false);
  expect(events.take()).toBeUndefined();
});

it("an engine that has crashed is called no more; other hosts' engines are", async () => {
  const machine = { ramBytes: bytes(GIB), cpus: 1, cgroupVersion: 2 } as const;
  const simulation = createSimulation({
    seed: 1,
    hosts: ['one', 'two'].map((name) => ({ ...machine, name })),
    supervisor: () => expect.fail('nothing is supervised'),
  });
  const calls: string[] = [];
  await simulation.run(async () => {
    for (const name of ['one', 'two'])
      await simulation.connect(name).store.watch('', () => void calls.push(name), new AbortController().signal);
    simulation.crash('one');
    await simulation.connect('one').store.commit({ put: [{ key: 'a', value: '1' }] });
    await simulation.connect('one').clock.sleep(1);
  });
  expect(calls).toEqual(['two']);
});
