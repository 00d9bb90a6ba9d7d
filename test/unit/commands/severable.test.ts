import { describe, expect, test } from 'vitest';
import { createSimulation } from '../../../backends/sim/simulation.ts';
import { severable } from '../../../src/commands/backend/severable.ts';
import { EngineCrash } from '../../../src/host/errors.ts';
import { type Bytes, GIB } from '../../../src/host/units.ts';
import { policyByName } from '../../../src/memory/policies.ts';
import { supervisorFactory } from '../../../src/memory/supervisor.ts';

const simulated = () => {
  const simulation = createSimulation({
    seed: 1,
    hosts: [{ name: 'host', ramBytes: GIB as Bytes, cpus: 1, cgroupVersion: 2 }],
    supervisor: supervisorFactory(({ policy }) => policyByName(policy.name)!),
  });
  return { simulation, ...severable(simulation.connect('host')) };
};

describe('a severable handle', () => {
  test('passes every call on', async () => {
    const { simulation, host } = simulated();
    await simulation.run(() => host.cgroups.create([{ path: 'a' }]));
    expect(await simulation.host('host').cgroups.list()).toMatchObject([{ path: 'a' }]);
    expect(host.clock.monotonicMs()).toBe(simulation.nowMs());
  });

  test('changes nothing once it is cut', async () => {
    const { simulation, host, sever } = simulated();
    sever();
    expect(() => host.cgroups.create([{ path: 'a' }])).toThrow(EngineCrash);
    expect(() => host.clock.monotonicMs()).toThrow(EngineCrash);
    expect(() => host.supervision.take()).toThrow(EngineCrash);
    expect(await simulation.host('host').cgroups.list()).toEqual([]);
  });

  test('tells nobody what was under way when it was cut', async () => {
    const { simulation, host, sever } = simulated();
    const cut = simulation.run(async () => {
      const sleeping = host.clock.sleep(1000);
      sever();
      await sleeping;
    });
    await expect(cut).rejects.toThrow(EngineCrash);
  });
});
