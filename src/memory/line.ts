import type { MemoryLine } from '../host/supervision.ts';
import { type Bytes, formatBytes, MIB, type Milliseconds } from '../host/units.ts';

/** The memory rule as people set it: factors of the hard limit. */
export interface LineAsked {
  readonly hardLimitBytes: Bytes;
  readonly killAt?: number | undefined;
  readonly stopAt?: number | undefined;
  readonly ceiling?: number | undefined;
  readonly lookEveryMs?: Milliseconds | undefined;
}

/** The memory rule's figures contradict each other, or the machine; `setting` is the one to change. */
export class MemoryError extends Error {
  override readonly name = 'MemoryError';
  readonly setting: keyof LineAsked;

  constructor(setting: keyof LineAsked, message: string) {
    super(message);
    this.setting = setting;
  }
}

const KILL_AT = 1.05;
const STOP_AT = 1;
const CEILING = 1.1;
const LOOK_EVERY_MS = 100 as Milliseconds;

/** Kernel limits are whole pages. */
const PAGE_BYTES = 4096;

/** What the machine keeps for itself: the larger of 512 MiB and 5 % of its RAM. */
const reserveBytes = (ramBytes: number): number => Math.max(512 * MIB, 0.05 * ramBytes);

/**
 * The rule's figures on a machine with so much RAM. What is not set is 1.05 (killAt), 1.00 or killAt if that is lower
 * (stopAt), 1.10 or as much of it as the machine has room for (ceiling). @throws MemoryError
 */
export function resolveLine(asked: LineAsked, ramBytes: number): MemoryLine {
  const { hardLimitBytes, lookEveryMs = LOOK_EVERY_MS } = asked;
  if (hardLimitBytes < PAGE_BYTES)
    throw new MemoryError('hardLimitBytes', `hardLimit ${formatBytes(hardLimitBytes)} is less than one page of memory`);
  if (!(lookEveryMs > 0))
    throw new MemoryError('lookEveryMs', 'lookEvery is 0: write how long between two looks, 100ms');
  for (const setting of ['killAt', 'stopAt', 'ceiling'] as const) {
    const factor = asked[setting];
    if (factor !== undefined && !(factor > 0 && Number.isFinite(factor)))
      throw new MemoryError(
        setting,
        `${setting} ${factor} is no factor of the hard limit: write one above 0, like 1.05`,
      );
  }

  const killAt = asked.killAt ?? KILL_AT;
  const stopAt = asked.stopAt ?? Math.min(STOP_AT, killAt);
  if (stopAt > killAt)
    throw new MemoryError('stopAt', `stopAt ${stopAt} is above killAt ${killAt}: killing would stop before it began`);

  const killAtBytes = Math.round(killAt * hardLimitBytes);
  return {
    hardLimitBytes,
    killAtBytes: killAtBytes as Bytes,
    stopAtBytes: Math.round(stopAt * hardLimitBytes) as Bytes,
    ceilingBytes: ceilingBytes(asked, killAt, killAtBytes, ramBytes),
    lookEveryMs,
  };
}

function ceilingBytes(asked: LineAsked, killAt: number, killAtBytes: number, ramBytes: number): Bytes {
  const factor = asked.ceiling ?? CEILING;
  if (factor <= killAt)
    throw new MemoryError(
      asked.ceiling === undefined ? 'killAt' : 'ceiling',
      `ceiling ${factor} is not above killAt ${killAt}: the kernel would act before the supervisor; set killAt below the ceiling`,
    );
  const roomBytes = Math.max(0, ramBytes - reserveBytes(ramBytes));
  const wantedBytes = factor * asked.hardLimitBytes;
  const room = `the machine has room for ${formatBytes(roomBytes)} (RAM ${formatBytes(ramBytes)} less ${formatBytes(reserveBytes(ramBytes))} for itself)`;
  if (asked.ceiling !== undefined && wantedBytes > roomBytes)
    throw new MemoryError(
      'ceiling',
      `ceiling ${factor} is ${formatBytes(wantedBytes)}, and ${room}; lower it or hardLimit`,
    );
  const limitBytes = Math.floor(Math.min(wantedBytes, roomBytes) / PAGE_BYTES) * PAGE_BYTES;
  if (limitBytes <= killAtBytes)
    throw new MemoryError(
      'hardLimitBytes',
      `no ceiling fits above killAt, which is ${formatBytes(killAtBytes)}: ${room}; lower hardLimit or killAt`,
    );
  return limitBytes as Bytes;
}
