import { HostError } from '../host/errors.ts';
import type { CgroupPath, CgroupReader, Cgroups, MemoryStat } from '../host/cgroups.ts';
import type { SupervisedContainer } from '../host/supervision.ts';

/** What is known of one container over its life; a cgroup made anew under the same name is a new life. */
export interface Child {
  readonly container: SupervisedContainer;
  reader: CgroupReader | undefined;
  /** Last read. `workingSetBytes` is plain usage where nobody needed better. */
  workingSetBytes: number;
  usageBytes: number;
  /** Inactive file cache, when `memory.stat` was last read. */
  cacheBytes: number;
  rssBytes: number;
  /** When SIGKILL was sent; NaN where it was not. In dry mode, when it would have been. */
  signalledAtMs: number;
  /** Told once that it still holds memory after its second of grace. */
  passedOver: boolean;
  /** A kill that failed is not tried again before this. */
  retryAtMs: number;
}

/** A container of whose cgroup nothing has been read yet. */
export const newChild = (container: SupervisedContainer): Child => ({
  container,
  reader: undefined,
  workingSetBytes: 0,
  usageBytes: 0,
  cacheBytes: 0,
  rssBytes: 0,
  signalledAtMs: Number.NaN,
  passedOver: false,
  retryAtMs: 0,
});

/** Opens a cgroup, or says undefined where it is not there (yet, or any more). Other failures are thrown. */
export function openIfThere(cgroups: Pick<Cgroups, 'open'>, path: CgroupPath): CgroupReader | undefined {
  try {
    return cgroups.open(path);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Does this error mean that the cgroup is not there? */
export const isGone = (error: unknown): boolean =>
  error instanceof HostError && (error.code === 'ENOENT' || error.code === 'ENODEV');

/** How much is read of a child: `excess` reads `memory.stat` only where usage passes the request. */
export type Depth = 'excess' | 'all';

/** Reads a child's memory into it. One whose cgroup is not there reads 0; one that was made anew begins a new life. */
export function readChild(child: Child, cgroups: Pick<Cgroups, 'open'>, depth: Depth, stat: MemoryStat): void {
  const known = child.reader !== undefined;
  try {
    readOnce(child, cgroups, depth, stat);
  } catch (error) {
    if (!isGone(error)) throw error;
    child.reader?.close();
    child.reader = undefined;
    forget(child);
    if (known) readChild(child, cgroups, depth, stat);
  }
}

function readOnce(child: Child, cgroups: Pick<Cgroups, 'open'>, depth: Depth, stat: MemoryStat): void {
  child.reader ??= openIfThere(cgroups, child.container.cgroup);
  if (child.reader === undefined) return forget(child);
  child.usageBytes = child.reader.usageBytes();
  // What a victim holds is taken off the parent's working set: its cache is not in there.
  if (depth === 'excess' && child.usageBytes <= child.container.requestBytes && Number.isNaN(child.signalledAtMs)) {
    child.workingSetBytes = child.usageBytes;
    return;
  }
  child.reader.readStat(stat);
  child.cacheBytes = stat.inactiveFileBytes;
  child.workingSetBytes = Math.max(0, child.usageBytes - stat.inactiveFileBytes);
  child.rssBytes = stat.anonBytes;
}

function forget(child: Child): void {
  child.workingSetBytes = 0;
  child.usageBytes = 0;
  child.cacheBytes = 0;
  child.rssBytes = 0;
  child.signalledAtMs = Number.NaN;
  child.passedOver = false;
}
