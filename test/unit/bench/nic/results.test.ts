import { expect, test } from 'vitest';
import type { NicMeasured } from '../../../../bench/nic/nic.ts';
import { ratesOf, resultsOf } from '../../../../bench/nic/results.ts';
import { caseOf, measured, rate } from './measured.ts';

const full = (name: string, ...rates: number[]): NicMeasured['full'][number] => ({
  of: caseOf(name),
  is: rates.map(rate),
});
const valueOf = (given: NicMeasured, id: string, functions: 'real' | 'emulated' | 'none' = 'none') =>
  resultsOf(given, null, functions).find((each) => each.id === id);

test('packets of each path are compared with those of Docker’s NAT in the same round', () => {
  const given = measured({ full: [full('macvlan', 200, 400, 900), full('docker-nat', 100, 200, 300)] });
  expect(valueOf(given, 'nic.macvlan_over_nat_pps_1x64')).toMatchObject({ value: 2, rounds: [2, 2, 3] });
  expect(ratesOf(given).map(({ overNat }) => overNat)).toEqual([2, 1]);
});

test('SR-IOV has figures only where a VF was real', () => {
  const given = measured({ full: [full('vf', 300), full('docker-nat', 100)] });
  expect(valueOf(given, 'nic.sriov_over_nat_pps_1x64', 'real')).toMatchObject({ value: 3 });
  expect(valueOf(given, 'nic.sriov_over_nat_pps_1x64', 'emulated')).toBeUndefined();
  expect(valueOf(given, 'nic.emulated_vf_over_nat_pps_1x64', 'emulated')).toMatchObject({ value: 3 });
  const without = measured({ full: [full('direct', 300), full('docker-nat', 100)] });
  expect(resultsOf(without, null, 'none').filter(({ id }) => id.includes('sriov'))).toEqual([]);
});

test('of an interrupted bench only whole rounds are compared, and what was not measured has no figure', () => {
  const cost = (name: string, roundsUs: number[]) => ({ ...caseOf(name), roundsUs });
  const given = measured({
    costs: [cost('direct', [1, 1]), cost('docker-nat', [2, 2.2]), cost('nat', [3]), cost('overlay', [])],
    full: [{ of: caseOf('direct'), is: [] }],
  });
  expect(valueOf(given, 'nic.nat_over_direct_cpu')).toMatchObject({ value: 2.1, rounds: [2, 2.2] });
  expect(valueOf(given, 'nic.plimsoll_nat_over_direct_cpu')).toMatchObject({ rounds: [3] });
  expect(valueOf(given, 'nic.overlay_cpu_us_1x64')).toBeUndefined();
  expect(valueOf(given, 'nic.direct_pps_1x64')).toBeUndefined();
});
