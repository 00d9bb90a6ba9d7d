import { describe, expect, test } from 'vitest';
import {
  machineLine,
  readEnvironment,
  readHypervisor,
  readLoad,
  readProcessor,
} from '../../../../bench/nic/environment.ts';
import { NetworkRoot } from '../../../../backends/linux/netns.ts';
import { plant } from './planted.ts';

const CPU = 'sys/devices/system/cpu';

describe('the processor', () => {
  test('is told with what makes it faster or slower', () => {
    const root = plant({
      [`${CPU}/cpu0/cpufreq/scaling_governor`]: 'powersave\n',
      [`${CPU}/cpu1/cpufreq/scaling_governor`]: 'performance\n',
      [`${CPU}/cpu10/cpufreq/scaling_governor`]: 'schedutil\n',
      [`${CPU}/cpufreq/boost`]: '0\n',
      [`${CPU}/smt/active`]: '1\n',
      [`${CPU}/vulnerabilities/meltdown`]: 'Mitigation: PTI\n',
      [`${CPU}/vulnerabilities/mds`]: 'Not affected\n',
    });
    expect(readProcessor('Example 1', 11, root)).toEqual({
      cpu: 'Example 1',
      cpus: 11,
      governors: ['performance', 'powersave', 'schedutil'],
      turbo: false,
      threads: true,
      mitigations: { meltdown: 'Mitigation: PTI' },
    });
  });

  test('of Intel says by its own driver that it has no turbo', () => {
    const file = `${CPU}/intel_pstate/no_turbo`;
    expect(readProcessor('', 1, plant({ [file]: '1\n' })).turbo).toBe(false);
    expect(readProcessor('', 1, plant({ [file]: '0\n', [`${CPU}/cpufreq/boost`]: '0\n' })).turbo).toBe(true);
  });

  test('that tells nothing is no error', () =>
    expect(readProcessor('', 1, plant({}))).toEqual({
      cpu: '',
      cpus: 1,
      governors: null,
      turbo: null,
      threads: null,
      mitigations: null,
    }));
});

describe('the hypervisor', () => {
  const guest = 'processor\t: 0\nflags\t\t: fpu hypervisor lahf_lm\n';
  test.for([
    ['a machine of its own', { 'proc/cpuinfo': 'flags\t\t: fpu lahf_lm\nmodel name\t: hypervisors-R-us\n' }, null],
    ['one that the firmware names', { 'proc/cpuinfo': guest, 'sys/class/dmi/id/sys_vendor': 'QEMU\n' }, 'QEMU'],
    ['one that nobody names', { 'proc/cpuinfo': guest }, 'unnamed'],
    ['Xen without a flag', { 'proc/cpuinfo': 'flags\t: fpu\n', 'sys/hypervisor/type': 'xen\n' }, 'xen'],
    ['a vendor of real machines', { 'sys/class/dmi/id/sys_vendor': 'Example Inc.\n' }, null],
  ] as const)('%s', ([, files, name]) => expect(readHypervisor(plant(files))).toBe(name));
});

test('the load is three numbers, or unknown', () => {
  expect(readLoad(plant({ 'proc/loadavg': '0.52 1.20 2.00 1/123 4567\n' }))).toEqual([0.52, 1.2, 2]);
  expect(readLoad(plant({ 'proc/loadavg': '\n' }))).toBeNull();
  expect(readLoad(plant({}))).toBeNull();
});

test('the machine in one line', () => {
  const card = { link: { namespace: '', name: 'eth1' }, driver: 'igb', speedBitsPerSec: 1e9 };
  expect(machineLine({ cpu: 'AMD EPYC', cpus: 2 }, '6.12', 'unnamed', card)).toBe(
    '2 CPUs (AMD EPYC) of a virtual machine, Linux 6.12, eth1 by igb at 1 Gbit/s',
  );
  expect(machineLine({ cpu: '', cpus: 1 }, '6.12', null, null)).toBe('1 CPU, Linux 6.12');
  expect(machineLine({ cpu: '', cpus: 1 }, '6.12', null, { ...card, driver: null, speedBitsPerSec: null })).toBe(
    '1 CPU, Linux 6.12, eth1 by an unknown driver',
  );
});

test.runIf(process.platform === 'linux')(
  'this machine is told, also of links and cards that are not there',
  async () => {
    const nowhere = { namespace: 'there-is-none', name: 'eth0' };
    const network = new NetworkRoot({ mark: 'plimsoll', own: null });
    const environment = await readEnvironment({ network, link: nowhere, card: nowhere });
    const unknown = { driver: null, firmware: null, pciAddress: null, speedBitsPerSec: null, offloads: null };
    expect(environment.link).toEqual({ link: nowhere, ...unknown });
    expect(environment.card).toEqual({ link: nowhere, id: null, totalVfs: null, numaNode: null, ...unknown });
    expect(environment.tools['node']).toBe(process.version);
    expect(environment.machine).toContain(`Linux ${environment.kernel}`);
  },
);
