import assert from 'node:assert/strict';
import type { ContractCase } from './contract.ts';

/** What `Machine` promises. */
export const machineContract: readonly ContractCase[] = [
  {
    name: 'describe tells RAM, CPUs, kernel and where the memory controller is, as another tool tells them',
    async run({ host, settle, readBack, cgroupVersion }) {
      const facts = await settle(() => host.machine.describe());
      assert.equal(facts.ramBytes, await readBack.ramBytes());
      assert.equal(facts.cpus, await readBack.cpus());
      assert.equal(facts.cgroupVersion, cgroupVersion);
      assert.notEqual(facts.hostname, '');
      assert.match(facts.kernel, /^\d+\.\d+/);
    },
  },
  {
    name: 'each ability is named once, with what was tried or what would bring it',
    async run({ host, settle }) {
      const { abilities } = await settle(() => host.machine.describe());
      assert.ok(abilities.length > 0);
      assert.equal(new Set(abilities.map(({ name }) => name)).size, abilities.length);
      for (const { name, detail } of abilities) assert.ok(name !== '' && detail !== '', `${name}: ${detail}`);
      assert.equal(abilities.find(({ name }) => name === 'cgroup memory controller')?.present, true);
    },
  },
];
