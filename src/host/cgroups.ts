import type { Applied } from './batch.ts';
import type { Bytes } from './units.ts';

/** A path under the host's own cgroup root, `containers/web`; the root itself is the empty string. */
export type CgroupPath = string;

/** A cgroup to be there. Its parent must be there; one that is there already is left as it is. */
export interface CgroupSpec {
  readonly path: CgroupPath;
}

/** The kernel's own limit of a cgroup: `memory.limit_in_bytes` (v1), `memory.max` (v2); null takes it off. */
export interface CgroupLimit {
  readonly path: CgroupPath;
  /** The kernel rounds down to whole pages of 4096 bytes, on both versions. */
  readonly limitBytes: Bytes | null;
}

/** What is there, as read back from the kernel. */
export interface CgroupState {
  readonly path: CgroupPath;
  readonly limitBytes: Bytes | null;
  /** Highest usage since it was made: 0 in a leaf means that nothing has ever run in it. */
  readonly peakBytes: number;
  /** Does any process live in it or under it? */
  readonly populated: boolean;
  /** Processes of it that the kernel's own OOM killer took (not Plimsoll's kills). */
  readonly oomKills: number;
}

/** `memory.stat`, as far as decisions need it; hierarchical (v1's `total_` lines, v2's only lines). All in bytes. */
export interface MemoryStat {
  anonBytes: number;
  /** Page cache, shmem included (as both versions count it). */
  fileBytes: number;
  /** What reclaim takes first and costs nobody anything. */
  inactiveFileBytes: number;
  /** tmpfs and shared memory: it outlives the process that wrote it. */
  shmemBytes: number;
}

/** A cgroup kept open for reading. Reads are synchronous: a file descriptor kept, read at position 0. */
export interface CgroupReader {
  readonly path: CgroupPath;
  /** Charged to it and everything under it, page cache included. v1 moves in steps of 256 KiB. @throws HostError ENODEV when it was removed. */
  usageBytes(): number;
  /** Fills `into` and returns it. @throws HostError ENODEV when it was removed. */
  readStat(into: MemoryStat): MemoryStat;
  close(): void;
}

/** Control groups, memory first: version 1 or 2, the caller need not know which. */
export interface Cgroups {
  create(specs: readonly CgroupSpec[]): Promise<Applied>;
  /**
   * Takes cache away where that is what stands in the way. EBUSY where even so usage does not fit under the limit, and
   * nothing is changed: nobody is killed by being limited, though v2's kernel by itself would (memory_max_write).
   */
  limit(limits: readonly CgroupLimit[]): Promise<Applied>;
  /** EBUSY while it has processes or children; one that is gone already is no error. */
  remove(paths: readonly CgroupPath[]): Promise<Applied>;
  /** Everything under the root, parents before children, in order of path. The root itself is not listed. */
  list(): Promise<readonly CgroupState[]>;
  /** @throws HostError ENOENT */
  open(path: CgroupPath): CgroupReader;
  /** SIGKILL to every process in it and under it, forks in flight included. It takes effect later. @throws HostError ENOENT */
  kill(path: CgroupPath): void;
}
