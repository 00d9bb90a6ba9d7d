import type { CgroupReader, MemoryStat } from '../../src/host/cgroups.ts';

/** What was read at one moment. */
interface Reading extends MemoryStat {
  readonly atMs: number;
  readonly usageBytes: number;
}

/** A reader that remembers what it read, as far back as a fault may ask: it can give the value of that long ago. */
export class RememberingReader {
  readonly #inner: CgroupReader;
  readonly #keepMs: number;
  readonly #readings: Reading[] = [];

  constructor(inner: CgroupReader, keepMs: number) {
    this.#inner = inner;
    this.#keepMs = keepMs;
  }

  /** The last reading that is at least this old; the oldest one, where none is. @throws HostError ENODEV */
  read(nowMs: number, delayMs: number): Reading {
    const usageBytes = this.#inner.usageBytes();
    const stat = this.#inner.readStat({ anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 });
    const readings = this.#readings;
    readings.push({ atMs: nowMs, usageBytes, ...stat });
    while (readings.length > 1 && readings[1]!.atMs <= nowMs - this.#keepMs) readings.shift();
    return readings.findLast(({ atMs }) => atMs <= nowMs - delayMs) ?? readings[0]!;
  }
}
