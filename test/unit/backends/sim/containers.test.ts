import { expect, it } from 'vitest';
import { constant, pass, simulate, startInPen } from './harness.ts';

it('only leaves under another cgroup are containers', async () => {
  const simulation = simulate();
  const host = await startInPen(simulation, { a: constant(1) });
  await simulation.run(() => host.cgroups.create(['alone', 'pen/deep', 'pen/deep/b'].map((path) => ({ path }))));
  expect((await host.containers.list()).map(({ cgroup }) => cgroup)).toEqual(['pen/a', 'pen/deep/b']);
  const start = (name: string, cgroup: string) =>
    simulation.run(() => host.containers.start([{ name, cgroup, workload: constant(1) }]));
  expect((await start('alone', 'alone')).error?.code).toBe('EINVAL');
  expect((await start('deep', 'pen/deep')).error?.code).toBe('EINVAL');
  expect(await start('b', 'pen/deep/b')).toEqual({ applied: 1 });
});

it('two of one name cannot run, wherever they are', async () => {
  const simulation = simulate();
  const host = await startInPen(simulation, { a: constant(1) });
  const start = () =>
    simulation.run(() => host.containers.start([{ name: 'a', cgroup: 'other/a', workload: constant(1) }]));
  await simulation.run(() => host.cgroups.create(['other', 'other/a'].map((path) => ({ path }))));
  expect((await start()).error).toMatchObject({ code: 'EEXIST', target: 'a' });
  await simulation.run(() => host.containers.stop(['a']));
  expect(await start()).toEqual({ applied: 1 });
});

it('stop ends all at the same moment, and returns when the last is gone', async () => {
  const simulation = simulate();
  const host = await startInPen(simulation, { a: constant(512), b: constant(1024), c: constant(1) });
  await pass(simulation, 1000);
  await simulation.run(() => host.containers.stop(['a', 'b', 'c']));
  // b is the largest: 1 GiB, 80 ms.
  expect(simulation.nowMs()).toBe(1080);
  expect((await host.containers.list()).map(({ phase }) => phase)).toEqual(['exited', 'exited', 'exited']);
});
