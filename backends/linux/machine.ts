import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import si from 'systeminformation';
import type { Ability, Machine, MachineFacts } from '../../src/host/machine.ts';
import { bytes } from '../../src/host/units.ts';
import { type CgroupController } from './cgroup-controller.ts';
import { type CgroupLayout, findLayout, layoutAt } from './cgroup-layout.ts';
import { cgroupV1 } from './cgroup-v1.ts';
import { cgroupV2 } from './cgroup-v2.ts';
import { firewallAbilities } from './firewall-abilities.ts';
import { NetworkRoot } from './netns.ts';
import { networkAbilities } from './network-abilities.ts';
import { runMark } from './owner.ts';
import { linuxVirtualFunctions } from './virtual-functions.ts';
import { shaperAbilities } from './shaper-abilities.ts';

/** The machine this runs on. Needs no rights: what takes them is told as absent, with what would bring it. */
export const linuxMachine = (
  cgroupMount?: string,
  network = new NetworkRoot({ mark: 'plimsoll', own: null }),
): Machine => ({
  async describe(): Promise<MachineFacts> {
    const [memory, cpu, system] = await Promise.all([si.mem(), si.cpu(), si.osInfo()]);
    const layout = cgroupMount === undefined ? findLayout() : layoutAt(cgroupMount);
    return {
      hostname: system.hostname,
      kernel: system.kernel,
      ramBytes: bytes(memory.total),
      cpus: cpu.cores,
      cgroupVersion: layout?.version ?? null,
      abilities: [
        root(),
        ...cgroupAbilities(layout),
        pressure(),
        ...(await networkAbilities()),
        await functionAbility(network),
        ...(await shaperAbilities()),
        ...(await firewallAbilities(network)),
      ],
    };
  },
});

function root(): Ability {
  const user = process.geteuid?.();
  return user === 0
    ? { name: 'root', present: true, detail: 'effective user 0' }
    : { name: 'root', present: false, detail: `effective user ${user}; run as root, or with sudo` };
}

function pressure(): Ability {
  const name = 'pressure (PSI)';
  try {
    const line = readFileSync('/proc/pressure/memory', 'utf8').split('\n')[0]!;
    return { name, present: true, detail: `/proc/pressure/memory: ${line}` };
  } catch (error) {
    return { name, present: false, detail: `/proc/pressure/memory: ${messageOf(error)}; boot with psi=1` };
  }
}

async function functionAbility(network: NetworkRoot): Promise<Ability> {
  const name = 'SR-IOV';
  try {
    const { physical } = await linuxVirtualFunctions(network).list([]);
    if (physical.length > 0) {
      const cards = physical.map(
        ({ pf, driver, vfCount, totalVfs }) => `${pf} (${driver}, ${vfCount} of ${totalVfs} VFs)`,
      );
      return { name, present: true, detail: cards.join(', ') };
    }
  } catch (error) {
    return { name, present: false, detail: messageOf(error) };
  }
  const detail =
    'no link here has a card with sriov_totalvfs; a card with virtual functions, switched on in its firmware, brings it';
  return { name, present: false, detail };
}

function cgroupAbilities(layout: CgroupLayout | null): Ability[] {
  const controllerName = 'cgroup memory controller';
  if (layout === null) {
    const detail = 'in no cgroup mount of /proc/self/mountinfo; boot with cgroup_enable=memory, or mount cgroup2';
    return [{ name: controllerName, present: false, detail }];
  }
  const where = layout.version === 1 ? layout.memoryMount : layout.mount;
  const controller = layout.version === 1 ? cgroupV1(layout) : cgroupV2(layout);
  // Tried with a cgroup of our own, gone again at once.
  const probe = runMark('probe');
  try {
    controller.make(probe);
    controller.readLimit(probe);
    return [
      {
        name: controllerName,
        present: true,
        detail: `version ${layout.version} at ${where}: made, read and removed one`,
      },
      ...killAndPeak(controller, probe),
    ];
  } catch (error) {
    const detail = `version ${layout.version} at ${where}: ${messageOf(error)}; it takes root`;
    return [{ name: controllerName, present: false, detail }];
  } finally {
    // Either of two hierarchies may have it; one that is not there is no error.
    controller.remove(probe);
  }
}

function killAndPeak(controller: CgroupController, probe: string): Ability[] {
  if (controller.version === 1) {
    controller.kill(probe);
    return [
      { name: 'whole-cgroup kill', present: true, detail: 'freezer: froze and thawed one' },
      { name: 'memory peak', present: true, detail: 'memory.max_usage_in_bytes read' },
    ];
  }
  const folder = controller.memoryFolder(probe);
  const file = (name: string, file: string, since: string): Ability =>
    existsSync(join(folder, file))
      ? { name, present: true, detail: `${file} is there` }
      : { name, present: false, detail: `${file} is not there: it came with Linux ${since}` };
  return [file('whole-cgroup kill', 'cgroup.kill', '5.14'), file('memory peak', 'memory.peak', '5.19')];
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
