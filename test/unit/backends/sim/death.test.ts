import { describe, expect, it } from 'vitest';
import { GIB, MIB } from '../../../../src/host/units.ts';
import { constant, growing, mib, ms, oomKills, pass, runningIn, simulate, startInPen, stat, usage } from './harness.ts';

describe('death', () => {
  it('takes 5 ms for 64 MiB, and memory comes back bit by bit', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { a: constant(1024) });
    await pass(simulation, 1000);
    host.cgroups.kill('pen/a');
    expect(usage(host, 'pen/a')).toBe(GIB);
    await pass(simulation, 20);
    expect(usage(host, 'pen/a') / MIB).toBeCloseTo(768, 0);
    await pass(simulation, 59.9);
    expect(await runningIn(host)).toEqual(['a']);
    await pass(simulation, 0.2);
    expect(await runningIn(host)).toEqual([]);
    expect(usage(host, 'pen/a')).toBe(0);
  });

  it('many processes die side by side, as many as there are CPUs', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { a: { ...constant(1024), processes: 8 } });
    await pass(simulation, 1000);
    host.cgroups.kill('pen/a');
    await pass(simulation, 19.9);
    expect(simulation.processes('a', 'pen/a')).toBe(8);
    await pass(simulation, 0.2);
    expect(simulation.processes('a', 'pen/a')).toBe(0);
  });

  it('even nothing takes a moment, and a cgroup with a dying process is in use', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { a: constant(0) });
    host.cgroups.kill('pen/a');
    const refused = await simulation.run(() => host.cgroups.remove(['pen/a']));
    expect(refused.error?.code).toBe('EBUSY');
    await pass(simulation, 1);
    expect((await host.containers.list())[0]?.phase).toBe('exited');
    expect(await simulation.run(() => host.cgroups.remove(['pen/a']))).toEqual({ applied: 1 });
  });

  it('the dying do not grow', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { a: growing(512) });
    await pass(simulation, 2000);
    host.cgroups.kill('pen');
    let last = usage(host, 'pen');
    for (let round = 0; round < 16; round++) {
      await pass(simulation, 5);
      expect(usage(host, 'pen')).toBeLessThan(last);
      last = usage(host, 'pen');
    }
    expect(last).toBe(0);
  });

  it('ends by itself at its age', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { a: { ...constant(64), endsAfterMs: ms(500) } });
    await pass(simulation, 504.9);
    expect(await runningIn(host)).toEqual(['a']);
    await pass(simulation, 0.2);
    expect(await host.containers.list()).toMatchObject([{ phase: 'exited', oomKilled: false }]);
  });

  it('file cache and shared memory outlive the process, and the cgroup: the parent goes on paying', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, {
      shares: { ...constant(40), shared: true },
      reads: { ...constant(10), cache: { bytes: mib(20), bytesPerSecond: mib(200), activeShare: 0.25 } },
    });
    await pass(simulation, 1000);
    await simulation.run(() => host.containers.stop(['shares', 'reads']));
    const left = { anonBytes: 0, shmemBytes: 40 * MIB, inactiveFileBytes: 15 * MIB, fileBytes: 60 * MIB };
    expect(stat(host, 'pen')).toEqual(left);
    expect(stat(host, 'pen/shares').shmemBytes).toBe(40 * MIB);
    expect(await simulation.run(() => host.cgroups.remove(['pen/shares', 'pen/reads']))).toEqual({ applied: 2 });
    expect(stat(host, 'pen')).toEqual(left);
  });

  it('one started again truncates the files it left', async () => {
    const simulation = simulate();
    const workload = { ...constant(40), shared: true, cache: { bytes: mib(20), bytesPerSecond: mib(200) } };
    const host = await startInPen(simulation, { a: workload });
    await pass(simulation, 1000);
    await simulation.run(async () => {
      await host.containers.stop(['a']);
      await host.containers.start([{ name: 'a', cgroup: 'pen/a', workload }]);
    });
    expect(usage(host, 'pen/a')).toBe(0);
    await pass(simulation, 1000);
    expect(usage(host, 'pen/a')).toBe(60 * MIB);
  });

  it('files on tmpfs belong to no process: the kernel kills another for them', async () => {
    const simulation = simulate();
    const host = await startInPen(
      simulation,
      { grows: growing(20), shares: { ...constant(70), shared: true } },
      { pen: 100 },
    );
    await pass(simulation, 1600);
    expect(await oomKills(host)).toEqual({ 'pen/grows': 1 });
    expect(usage(host, 'pen')).toBe(70 * MIB);
  });

  it('a killed writer of shared memory frees nothing', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { shares: { ...constant(70), shared: true } });
    await pass(simulation, 1000);
    host.cgroups.kill('pen/shares');
    await pass(simulation, 1000);
    expect(await runningIn(host)).toEqual([]);
    expect(usage(host, 'pen')).toBe(70 * MIB);
  });
});
