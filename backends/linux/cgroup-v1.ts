import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../../src/host/errors.ts';
import type { Bytes } from '../../src/host/units.ts';
import { type CgroupController, foldersUnder, forbidSwap, removeFolder, statKeys, SWAPS } from './cgroup-controller.ts';
import type { CgroupLayout } from './cgroup-layout.ts';
import { errnoOf, isAbsent } from './errors.ts';
import { monotonicMs } from './clock.ts';
import { readCount, readKey, readPids, readText, writeText } from './kernel-file.ts';
import { sendKill } from './owner.ts';

/** At and above this the kernel says that there is no limit: LONG_MAX in whole pages. */
const NO_LIMIT_FROM = 2 ** 62;

/** A kill has found all that it can by then. */
const KILL_WITHIN_MS = 1000;

/**
 * Where the freezer cannot tell that nobody moves (somebody never joined it, or waits in the kernel for something), the
 * kill is over when nobody new showed for this long: a fork in flight takes microseconds.
 */
const QUIET_MS = 2;

/** Version 1: memory and freezer are hierarchies of their own, and every cgroup is a folder in both. */
export function cgroupV1(
  { memoryMount, freezerMount }: Extract<CgroupLayout, { version: 1 }>,
  swaps = SWAPS,
): CgroupController {
  const memory = (path: string): string => join(memoryMount, path);
  const freezer = (path: string): string => join(freezerMount, path);
  const folders = (path: string): string[] => [freezer(path), memory(path)];
  const readLimit = (path: string): Bytes | null => {
    const limit = readCount(join(memory(path), 'memory.limit_in_bytes'));
    return limit >= NO_LIMIT_FROM ? null : (limit as Bytes);
  };
  return {
    version: 1,
    memoryFolder: memory,
    folders,
    files: {
      usage: 'memory.usage_in_bytes',
      statKeys: statKeys(['total_rss', 'total_cache', 'total_inactive_file', 'total_shmem']),
    },
    prepareRoot(path) {
      accountForChildren(memory(path));
      // Inherited by what is made under it. A limit on memory and swap together would have to follow every other limit.
      forbidSwap(join(memory(path), 'memory.swappiness'), swaps);
    },
    make(path) {
      const made = makeFolder(memory(path));
      try {
        makeFolder(freezer(path));
      } catch (error) {
        if (made) rmdirSync(memory(path));
        throw error;
      }
    },
    // Memory last: whoever is cut short between the two leaves it listed, and what is listed is removed again.
    remove: (path) => folders(path).forEach(removeFolder),
    join(path, pid) {
      // The freezer first: whoever is charged can be frozen.
      for (const folder of folders(path)) writeText(join(folder, 'cgroup.procs'), String(pid));
    },
    setLimit: (path, limitBytes) =>
      writeText(join(memory(path), 'memory.limit_in_bytes'), limitBytes === null ? '-1' : String(limitBytes)),
    readLimit,
    state: (path) => ({
      limitBytes: readLimit(path),
      peakBytes: readCount(join(memory(path), 'memory.max_usage_in_bytes')),
      populated: readPids(join(memory(path), 'cgroup.procs')).length > 0,
      oomKills: readKey(join(memory(path), 'memory.oom_control'), 'oom_kill'),
    }),
    isPopulated: (path) => folders(path).some((folder) => pidsUnder(folder).length > 0),
    kill(path) {
      // Throws where it is in neither hierarchy: one that is being removed, or whose making was cut short, is in one.
      if (!existsSync(freezer(path))) readPids(join(memory(path), 'cgroup.procs'));
      try {
        setFreezer(freezer(path), 'FROZEN');
        killUntilNoneIsNew(memory(path), freezer(path));
      } finally {
        // SIGKILL does not act on what is frozen: also what another killer froze and, ended itself, left so.
        for (const folder of foldersUnder(freezer(path))) setFreezer(folder, 'THAWED');
      }
    },
  };
}

/** Before Linux 5.11 a cgroup counts what is under it only where it is told to, and can be told only while nothing is. */
function accountForChildren(root: string): void {
  const file = join(root, 'memory.use_hierarchy');
  if (!existsSync(file) || readCount(file) === 1) return;
  writeText(file, '1');
  if (readCount(file) !== 1)
    throw new HostError('EOPNOTSUPP', 'cgroups.create', root, {
      detail: 'the kernel does not count in a cgroup what is used under it: memory.use_hierarchy stays 0',
    });
}

/** Frozen, nobody forks out of sight. What was sent SIGKILL before it froze, and what could not freeze, is looked for again. */
function killUntilNoneIsNew(memory: string, freezer: string): void {
  const signalled = new Set<number>();
  const untilMs = monotonicMs() + KILL_WITHIN_MS;
  for (let lastNewMs = monotonicMs(); ;) {
    const isFrozen = freezerState(freezer) === 'FROZEN';
    const inMemory = pidsUnder(memory);
    const inFreezer = new Set(pidsUnder(freezer));
    const before = signalled.size;
    for (const pid of [...inMemory, ...inFreezer]) {
      if (signalled.has(pid)) continue;
      signalled.add(pid);
      sendKill(pid);
    }
    if (isFrozen && inMemory.every((pid) => inFreezer.has(pid))) return;
    const nowMs = monotonicMs();
    if (signalled.size > before) lastNewMs = nowMs;
    if (nowMs > lastNewMs + QUIET_MS) return;
    if (nowMs > untilMs) throw new Error(`processes in ${memory} fork faster than they can be killed`);
  }
}

/** THAWED where there is no such folder any more. */
function freezerState(folder: string): string {
  try {
    return readText(join(folder, 'freezer.state')).trim();
  } catch (error) {
    if (isAbsent(error)) return 'THAWED';
    throw error;
  }
}

function setFreezer(folder: string, state: 'FROZEN' | 'THAWED'): void {
  try {
    writeText(join(folder, 'freezer.state'), state);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

/** Processes in this folder and under it. */
function pidsUnder(folder: string): number[] {
  return foldersUnder(folder).flatMap((each) => {
    try {
      return readPids(join(each, 'cgroup.procs'));
    } catch (error) {
      if (isAbsent(error)) return [];
      throw error;
    }
  });
}

function makeFolder(folder: string): boolean {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    return false;
  }
}
