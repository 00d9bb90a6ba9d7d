import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Bytes } from '../../src/host/units.ts';
import { type CgroupController, foldersUnder, statKeys } from './cgroup-controller.ts';
import type { CgroupLayout } from './cgroup-layout.ts';
import { errnoOf, isAbsent } from './errors.ts';
import { sendKill } from './owner.ts';
import { readCount, readKey, readPids, readText, writeText } from './kernel-file.ts';

/** At and above this the kernel says that there is no limit: LONG_MAX in whole pages. */
const NO_LIMIT_FROM = 2 ** 62;

/**
 * Passes over the processes of a cgroup that is being killed. One pass finds all unless they fork meanwhile; a process
 * with SIGKILL pending cannot fork, so new ones run out.
 */
const KILL_PASSES = 1000;

/** Version 1: memory and freezer are hierarchies of their own, and every cgroup is a folder in both. */
export function cgroupV1({ memoryMount, freezerMount }: Extract<CgroupLayout, { version: 1 }>): CgroupController {
  const memory = (path: string): string => join(memoryMount, path);
  const freezer = (path: string): string => join(freezerMount, path);
  const readLimit = (path: string): Bytes | null => {
    const limit = readCount(join(memory(path), 'memory.limit_in_bytes'));
    return limit >= NO_LIMIT_FROM ? null : (limit as Bytes);
  };
  return {
    version: 1,
    memoryFolder: memory,
    files: {
      usage: 'memory.usage_in_bytes',
      statKeys: statKeys(['total_rss', 'total_cache', 'total_inactive_file', 'total_shmem']),
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
    remove(path) {
      removeFolder(memory(path));
      removeFolder(freezer(path));
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
    kill(path) {
      // Throws where it is not there; and frozen, nothing can fork out of sight while it is being killed.
      readPids(join(memory(path), 'cgroup.procs'));
      const stateFile = join(freezer(path), 'freezer.state');
      writeText(stateFile, 'FROZEN');
      try {
        killUntilNoneIsNew(memory(path), stateFile);
      } finally {
        writeText(stateFile, 'THAWED');
      }
    },
  };
}

function killUntilNoneIsNew(folder: string, stateFile: string): void {
  const signalled = new Set<number>();
  for (let pass = 0; pass < KILL_PASSES; pass++) {
    const frozen = readText(stateFile).startsWith('FROZEN');
    const before = signalled.size;
    for (const pid of pidsUnder(folder)) {
      if (signalled.has(pid)) continue;
      signalled.add(pid);
      sendKill(pid);
    }
    // Complete if it was frozen throughout, or if whoever could have forked had its signal before this pass.
    if (frozen || signalled.size === before) return;
  }
  throw new Error(`processes in ${folder} fork faster than they can be killed`);
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

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}
