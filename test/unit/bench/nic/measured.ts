// What a bench has measured, as tests of its words and figures need it.
import type { NicMeasured } from '../../../../bench/nic/nic.ts';
import { SHOWN } from '../../../../bench/nic/paths.ts';
import { vfPath } from '../../../../bench/nic/paths/vf.ts';

/** One container, 64 bytes of payload, by the path of this name. */
export const caseOf = (name: string) => ({
  path: [...SHOWN, vfPath].find((path) => path.name === name)!,
  payloadBytes: 64,
  containers: 1,
});

export const rate = (packetsPerSec: number) => ({ packetsPerSec, senderUs: 1, hostUs: 2 });

export const measured = (given: Partial<NicMeasured>): NicMeasured => ({
  costs: [],
  full: [],
  ceilings: [],
  frames: [],
  latencies: [],
  transactions: [],
  ...given,
});
