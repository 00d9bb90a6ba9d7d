import { expect, test } from 'vitest';
import { clearsMac, invalidity, refusalOf, VF_DRIVERS } from '../../../src/host/vf-drivers.ts';
import type { VfKnobs } from '../../../src/host/virtual-functions.ts';

const MBIT = 1_000_000;

/** One value of each knob that is not what a fresh VF has, as the drivers answer it. */
const TURNED: VfKnobs = {
  mac: '02:00:00:00:00:01',
  vlan: 7,
  qos: 3,
  proto: '802.1ad',
  spoofCheck: false,
  trust: true,
  linkState: 'disable',
  minRateBitsPerSec: 10 * MBIT,
  maxRateBitsPerSec: 100 * MBIT,
};

const AT_REST: VfKnobs = {
  mac: '02:00:00:00:00:02',
  vlan: 0,
  qos: 0,
  proto: '802.1Q',
  spoofCheck: true,
  trust: false,
  linkState: 'auto',
  minRateBitsPerSec: 0,
  maxRateBitsPerSec: 0,
};

const KNOBS = Object.keys(TURNED) as (keyof VfKnobs)[];
const refused = (driver: string, set: VfKnobs): string[] =>
  KNOBS.filter((knob) => refusalOf(driver, knob, set[knob]) !== null);

test('each driver lacks what its source lacks, and what a VF has anyway is refused by none', () => {
  expect(Object.fromEntries(VF_DRIVERS.map(({ name }) => [name, refused(name, TURNED)]))).toEqual({
    igb: ['proto', 'linkState', 'minRateBitsPerSec'],
    ixgbe: ['proto', 'minRateBitsPerSec'],
    i40e: ['proto', 'minRateBitsPerSec'],
    ice: ['proto'],
    mlx5_core: ['proto'],
  });
  for (const { name } of VF_DRIVERS) expect(refused(name, AT_REST), `${name} at rest`).toEqual([]);
});

test('a refusal names the knob as ip-link does, and the driver', () => {
  expect(refusalOf('igb', 'minRateBitsPerSec', 10 * MBIT)).toEqual({
    code: 'EOPNOTSUPP',
    detail: 'min_tx_rate: the driver igb guarantees no rate',
    silent: false,
  });
  expect(refusalOf('ixgbe', 'maxRateBitsPerSec', 10 * MBIT)).toEqual({
    code: 'EINVAL',
    detail: 'max_tx_rate: the driver ixgbe limits no rate under 11 Mbit/s',
    silent: false,
  });
});

test('what a driver takes and does not do is refused before it is asked', () => {
  expect(refusalOf('ixgbe', 'linkState', 'enable')).toMatchObject({ code: 'EOPNOTSUPP', silent: true });
  expect(refusalOf('ixgbe', 'linkState', 'disable')).toBeNull();
  for (const rate of [20, 75, 120])
    expect(refusalOf('i40e', 'maxRateBitsPerSec', rate * MBIT)).toMatchObject({ code: 'EINVAL', silent: true });
  expect(refusalOf('i40e', 'maxRateBitsPerSec', 150 * MBIT)).toBeNull();
});

test('an address is taken back where the driver is known to do it', () => {
  expect([...VF_DRIVERS.map(({ name }) => name), 'unknown'].filter((name) => !clearsMac(name))).toEqual([
    'mlx5_core',
    'unknown',
  ]);
  expect(refusalOf('mlx5_core', 'mac', '00:00:00:00:00:00')).toMatchObject({ code: 'EINVAL' });
  expect(refusalOf('igb', 'mac', '00:00:00:00:00:00')).toBeNull();
});

test('a driver that is not known is asked by trying; what no card can have is refused for all', () => {
  expect(refused('unknown', TURNED)).toEqual([]);
  const never: readonly (readonly [keyof VfKnobs, VfKnobs[keyof VfKnobs]])[] = [
    ['mac', '03:00:00:00:00:01'],
    ['mac', '02:00:00'],
    ['vlan', 4096],
    ['vlan', -1],
    ['vlan', 1.5],
    ['qos', 8],
    ['minRateBitsPerSec', 1500],
    ['maxRateBitsPerSec', -MBIT],
  ];
  for (const [knob, value] of never) {
    expect(refusalOf('unknown', knob, value as never), `${knob} ${value}`).toMatchObject({ code: 'EINVAL' });
    expect(invalidity(knob, value as never), `${knob} ${value}`).not.toBeNull();
  }
});
