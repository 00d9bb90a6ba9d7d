import { readFileSync } from 'node:fs';
import { calibrationSchema } from '../../backends/sim/calibration.ts';
import type { PacketCosts } from '../../backends/sim/packet-costs.ts';
import { UsageError } from './errors.ts';

/** Reads what `plimsoll bench nic --calibrate` wrote. @throws UsageError */
export function readCalibration(path: string): PacketCosts {
  try {
    return calibrationSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new UsageError(`--calibration ${path}: it cannot be read as what "plimsoll bench nic --calibrate" writes`, {
      cause: error,
    });
  }
}
