import type { CgroupLimit, CgroupReader, Cgroups, CgroupState, MemoryStat } from '../../src/host/cgroups.ts';
import { HostError } from '../../src/host/errors.ts';
import { inOrder } from './batch.ts';
import { PAGE_BYTES } from './charge.ts';
import type { EventQueue } from './events.ts';
import type { Group } from './group.ts';
import type { Memory } from './memory.ts';
import { reclaim } from './pressure.ts';

/** Control groups over the memory model. */
export function createCgroups(memory: Memory, events: EventQueue): Cgroups {
  const advanced = (): Memory => {
    memory.advance(events.nowMs);
    return memory;
  };
  return {
    create: (specs) => inOrder(specs, ({ path }) => create(advanced(), path)),
    limit: (limits) => inOrder(limits, (limit) => setLimit(advanced(), limit, events.nowMs)),
    remove: (paths) => inOrder(paths, (path) => remove(advanced(), path, events.nowMs)),
    list: async () => list(advanced(), events.nowMs),
    open: (path) => createReader(existing(advanced(), path, 'cgroups.open'), memory, events),
    kill(path) {
      const group = existing(advanced(), path, 'cgroups.kill');
      memory.kill(group, events.nowMs);
    },
  };
}

function create(memory: Memory, path: string): void {
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..'))
    throw new HostError('EINVAL', 'cgroups.create', path, { detail: 'a path is names joined by /' });
  if (memory.group(path) !== undefined) return;
  const parent = memory.group(path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '');
  if (parent === undefined)
    throw new HostError('ENOENT', 'cgroups.create', path, { detail: 'its parent is not there' });
  // v2: a cgroup gives its children controllers or has processes, never both (cgroup_vet_subtree_control_enable).
  if (memory.version === 2 && parent.tasks.length > 0)
    throw new HostError('EBUSY', 'cgroups.create', path, { detail: 'its parent has processes of its own' });
  memory.add(path, parent);
}

/**
 * v1 reclaims what it can, and never kills (mem_cgroup_resize_max, mm/memcontrol-v1.c). v2's kernel would kill; the Linux
 * host looks first and refuses, with the cache untouched.
 */
function setLimit(memory: Memory, { path, limitBytes }: CgroupLimit, nowMs: number): void {
  const group = existing(memory, path, 'cgroups.limit');
  const limit = limitBytes === null ? Number.POSITIVE_INFINITY : limitBytes - (limitBytes % PAGE_BYTES);
  const over = group.bytesAt(nowMs) - limit;
  const mayTry = memory.version === 1 || over <= cacheBytes(group, nowMs);
  const fits = over <= 0 || (mayTry && reclaim(group, over, nowMs));
  if (!fits) throw new HostError('EBUSY', 'cgroups.limit', path, { detail: 'usage cannot be brought under the limit' });
  memory.setLimit(group, limit, nowMs);
}

function cacheBytes(group: Group, nowMs: number): number {
  const stat = { anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 };
  group.addStat(nowMs, stat);
  return stat.fileBytes - stat.shmemBytes;
}

function remove(memory: Memory, path: string, nowMs: number): void {
  const group = memory.group(path);
  if (group === undefined) return;
  if (group.parent === null) throw new HostError('EBUSY', 'cgroups.remove', path, { detail: 'the root stays' });
  if (group.children.length > 0) throw new HostError('EBUSY', 'cgroups.remove', path, { detail: 'it has children' });
  if (group.isPopulated()) throw new HostError('EBUSY', 'cgroups.remove', path, { detail: 'processes live in it' });
  memory.remove(group, nowMs);
}

function list(memory: Memory, nowMs: number): CgroupState[] {
  memory.root.notePeaks(nowMs);
  return [...memory.root.subtree()]
    .filter((group) => group.parent !== null)
    .map((group) => ({
      path: group.path,
      limitBytes: (Number.isFinite(group.limitBytes) ? group.limitBytes : null) as CgroupState['limitBytes'],
      peakBytes: group.peakBytes,
      populated: group.isPopulated(),
      oomKills: group.oomKills,
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

function createReader(group: Group, memory: Memory, events: EventQueue): CgroupReader {
  let closed = false;
  const advance = (): number => {
    const { nowMs } = events;
    memory.advance(nowMs);
    if (group.removed || closed) throw new HostError('ENODEV', 'cgroups.read', group.path);
    return nowMs;
  };
  return {
    path: group.path,
    usageBytes: () => group.counterBytes(advance()),
    readStat(into: MemoryStat) {
      const nowMs = advance();
      into.anonBytes = 0;
      into.fileBytes = 0;
      into.inactiveFileBytes = 0;
      into.shmemBytes = 0;
      group.addStat(nowMs, into);
      return into;
    },
    close() {
      closed = true;
    },
  };
}

/** @throws HostError ENOENT */
function existing(memory: Memory, path: string, operation: string): Group {
  const group = memory.group(path);
  if (group === undefined) throw new HostError('ENOENT', operation, path, { detail: 'no such cgroup' });
  return group;
}
