// A real process that does with memory what a curve says: the containers of a scenario on a real host. It imports
// little and makes little garbage, because what the runtime itself uses is charged to the container.
import { closeSync, constants, ftruncateSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { type CgroupPlace, linuxCgroups } from '../../backends/linux/cgroups.ts';
import { monotonicMs, pause } from '../../backends/linux/clock.ts';
import { readPids } from '../../backends/linux/kernel-file.ts';
import type { MemoryStat } from '../host/cgroups.ts';
import { cachePieces, memoryPieces, type Piece, pieceAt, type Workload } from '../host/workload.ts';

/** What one process of a container must know; comes as one line of JSON, on descriptor 3 or as the first argument. */
export interface WorkloadOrder {
  readonly place: CgroupPlace;
  readonly cgroup: string;
  readonly workload: Workload;
  /** The how-manieth of the container's processes this is. */
  readonly index: number;
  /** Where shared memory goes: a file on tmpfs. */
  readonly sharedFile: string;
  /** What is read to fill the cache: a file on a real file system. */
  readonly cacheFile: string;
}

const TICK_MS = 10;
const IDLE_TICK_MS = 50;
const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;
/** At most this much is touched between two looks at the clock: 13 ms. */
const STRIDE_BYTES = 32 * MIB;
/**
 * Nearer to the curve than this, nothing is corrected. Each CPU keeps up to 256 KiB charged in advance (64 pages,
 * MEMCG_CHARGE_BATCH in mm/memcontrol.c) and gives them back when a limit is hit: a container that grew to make up for
 * that would do so while an OOM victim is being torn down, and be the next.
 */
const DEAD_ZONE_BYTES = 256 * 1024 * Math.min(4, availableParallelism());
/** The runtime's own memory varies within this; what is further off has another cause, and is not chased. */
const CORRECTION_MAX_BYTES = 16 * MIB;
/** Of each such block of the cache file the first part is active. */
const ACTIVE_BLOCK_BYTES = 2 * MIB;
const CHANNEL_FD = 3;

const fromArgument = process.argv[2];
const order = JSON.parse(fromArgument ?? readLine()) as WorkloadOrder;
const { workload, index } = order;
const processes = workload.processes ?? 1;
const cgroups = linuxCgroups(order.place);
const reader = cgroups.open(order.cgroup);
const procsFile = `${cgroups.folder(order.cgroup)}/cgroup.procs`;
const memory = memoryPieces(workload.memory);
const cache = cachePieces(workload.cache);
const piece: Piece = { value: 0, slope: 0, untilMs: 0 };
const stat: MemoryStat = { anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 };
const chunk = Buffer.alloc(64 * 1024, 1);
const holding = workload.shared === true ? sharedFile() : privateMemory();
const cached =
  index === 0 && workload.cache !== undefined ? cacheFile(order.cacheFile, workload.cache.activeShare ?? 0) : undefined;

writeFileSync('/proc/self/oom_score_adj', '0');
cgroups.join(order.cgroup, process.pid);
const epochMs = fromArgument === undefined ? waitForGo() : monotonicMs();
live();

/** Follows the curves until the end of the container's life, or until its cgroup is gone. */
function live(): void {
  let correctionBytes = 0;
  let askedBytes = 0;
  let cachedBytes = 0;
  for (;;) {
    const ageMs = monotonicMs() - epochMs;
    if (workload.endsAfterMs !== undefined && ageMs >= workload.endsAfterMs) process.exit(0);
    const alive = processes === 1 ? 1 : Math.max(1, readPids(procsFile).length);
    // What it was asked to be at the last tick, against what it is: the difference is the runtime's own.
    const offBytes = (askedBytes * alive - measuredBytes()) / alive;
    if (Math.abs(offBytes) > DEAD_ZONE_BYTES)
      correctionBytes = clamp(correctionBytes + offBytes / Math.min(alive, 2), CORRECTION_MAX_BYTES);

    askedBytes = pieceAt(memory, Math.max(0, ageMs), piece).value / processes;
    let restMs = piece.slope === 0 && Math.abs(offBytes) <= DEAD_ZONE_BYTES ? IDLE_TICK_MS : TICK_MS;
    restMs = Math.min(restMs, Math.max(1, piece.untilMs - ageMs));
    const wantedBytes = Math.max(0, askedBytes + correctionBytes);
    if (wantedBytes - holding.bytes > STRIDE_BYTES) {
      askedBytes -= wantedBytes - holding.bytes - STRIDE_BYTES;
      holding.resize(holding.bytes + STRIDE_BYTES);
      restMs = 0;
    } else holding.resize(wantedBytes);

    if (cached !== undefined) {
      const target = pieceAt(cache, Math.max(0, ageMs), piece).value;
      if (target > cachedBytes) cached.readTo((cachedBytes = Math.min(target, cachedBytes + STRIDE_BYTES)));
      if (piece.slope > 0) restMs = Math.min(restMs, TICK_MS);
    }
    if (restMs > 0) pause(restMs);
  }
}

/** What is charged to the container and no file cache: its memory, the runtime's own, and the kernel's for both. */
function measuredBytes(): number {
  try {
    reader.readStat(stat);
    return reader.usageBytes() - stat.fileBytes + (workload.shared === true ? stat.shmemBytes : 0);
  } catch {
    // The cgroup is gone: whoever made it has cleaned up.
    return process.exit(0);
  }
}

interface Holding {
  readonly bytes: number;
  resize(bytes: number): void;
}

/** Anonymous memory: a resizable buffer gives pages back when it shrinks. A page counts once it was touched. */
function privateMemory(): Holding {
  const buffer = new ArrayBuffer(0, { maxByteLength: totalmem() });
  const view = new Uint8Array(buffer);
  return {
    get bytes() {
      return buffer.byteLength;
    },
    resize(bytes) {
      const from = buffer.byteLength;
      const to = wholePages(bytes);
      if (to === from) return;
      buffer.resize(to);
      for (let at = from; at < to; at += PAGE_BYTES) view[at] = 1;
    },
  };
}

/** Shared memory: a file on tmpfs, charged to whoever wrote it, and there until somebody removes it. */
function sharedFile(): Holding {
  const fd = openNew(order.sharedFile);
  let length = 0;
  return {
    get bytes() {
      return length;
    },
    resize(bytes) {
      const to = wholePages(bytes);
      if (to < length) ftruncateSync(fd, to);
      for (let at = length; at < to;) at += writeSync(fd, chunk, 0, Math.min(chunk.length, to - at), at);
      length = to;
    },
  };
}

/**
 * A file of holes: reading it fills page cache as any file does, and takes no room on the disk. It grows piece by piece
 * just before it is read: the kernel reads ahead as far as a file goes, in folios of up to 2 MiB. What is read a second
 * time becomes active: the first pieces of each block.
 */
function cacheFile(path: string, activeShare: number): { readTo(bytes: number): void } {
  const fd = openNew(path);
  const activePieces = Math.round((ACTIVE_BLOCK_BYTES / chunk.length) * activeShare);
  let length = 0;
  return {
    readTo(target) {
      while (length + chunk.length <= target) {
        ftruncateSync(fd, length + chunk.length);
        readSync(fd, chunk, 0, chunk.length, length);
        length += chunk.length;
        if (length % ACTIVE_BLOCK_BYTES !== 0) continue;
        for (let piece = 0; piece < activePieces; piece++)
          readSync(fd, chunk, 0, chunk.length, length - ACTIVE_BLOCK_BYTES + piece * chunk.length);
      }
    },
  };
}

/** A file of its own in place of what an earlier life left under this name; through no link, and into nobody else's. */
function openNew(path: string): number {
  rmSync(path, { force: true });
  return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
}

function wholePages(bytes: number): number {
  return bytes - (bytes % PAGE_BYTES);
}

function waitForGo(): number {
  writeSync(CHANNEL_FD, 'ready\n');
  const [word, atNs] = readLine().split(' ');
  if (word !== 'go' || atNs === undefined) process.exit(0);
  closeSync(CHANNEL_FD);
  return Number(atNs) / 1e6;
}

/** The next line of the channel; empty when the other end is gone. */
function readLine(): string {
  const bytes = Buffer.alloc(64 * 1024);
  let text = '';
  while (!text.endsWith('\n')) {
    const length = readSync(CHANNEL_FD, bytes);
    if (length === 0) process.exit(0);
    text += bytes.toString('utf8', 0, length);
  }
  return text.trim();
}

function clamp(value: number, most: number): number {
  return Math.max(-most, Math.min(most, value));
}
