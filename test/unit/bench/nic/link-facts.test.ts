import { describe, expect, test } from 'vitest';
import { factsIn, offloadsIn, readCardFacts } from '../../../../bench/nic/link-facts.ts';
import { plant } from './planted.ts';

describe('what ethtool says', () => {
  const info = (driver: string, firmware: string, bus: string): string =>
    `driver: ${driver}\nversion: 6.12.0\nfirmware-version: ${firmware}\nexpansion-rom-version: \nbus-info: ${bus}\nsupports-statistics: yes\n`;

  test('of a card', () =>
    expect(factsIn(info('igb', '3.25, 0x800005cc', '0000:01:00.0'))).toEqual({
      driver: 'igb',
      firmware: '3.25, 0x800005cc',
      pciAddress: '0000:01:00.0',
    }));

  test('of a link without a card', () =>
    expect(factsIn(info('veth', '', ''))).toEqual({ driver: 'veth', firmware: null, pciAddress: null }));

  test('of a bridge, which is on no bus', () =>
    expect(factsIn(info('bridge', 'N/A', 'N/A'))).toEqual({ driver: 'bridge', firmware: null, pciAddress: null }));

  test('of offloads: those that are on and change packets', () => {
    const on = { active: true, fixed: false, requested: true };
    const features = {
      ifname: 'eth1',
      'tx-udp-segmentation': on,
      'generic-receive-offload': on,
      'large-receive-offload': { ...on, active: false },
      'rx-vlan-filter': on,
      'tx-checksumming': { active: true, fixed: null, requested: null },
    };
    expect(offloadsIn(JSON.stringify([features]))).toEqual([
      'tx-udp-segmentation',
      'generic-receive-offload',
      'tx-checksumming',
    ]);
    expect(offloadsIn('Features for eth1:\nrx-checksumming: on\n')).toBeNull();
    expect(offloadsIn('')).toBeNull();
  });
});

describe('a card', () => {
  const at = (file: string): string => `sys/bus/pci/devices/0000:01:00.0/${file}`;

  test('is told by its bus', () => {
    const root = plant({
      [at('vendor')]: '0x8086\n',
      [at('device')]: '0x10c9\n',
      [at('sriov_totalvfs')]: '7\n',
      [at('numa_node')]: '-1\n',
      [at('driver')]: '->../../../../bus/pci/drivers/igb',
    });
    expect(readCardFacts('0000:01:00.0', root)).toEqual({
      id: '8086:10c9',
      driver: 'igb',
      totalVfs: 7,
      numaNode: null,
    });
  });

  test('that is gone tells nothing', () =>
    expect(readCardFacts('0000:01:00.0', plant({ [at('numa_node')]: '1\n' }))).toEqual({
      id: null,
      driver: null,
      totalVfs: null,
      numaNode: 1,
    }));
});
