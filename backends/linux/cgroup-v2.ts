import { mkdirSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HostError } from '../../src/host/errors.ts';
import type { Bytes } from '../../src/host/units.ts';
import { type CgroupController, statKeys } from './cgroup-controller.ts';
import type { CgroupLayout } from './cgroup-layout.ts';
import { errnoOf, isAbsent } from './errors.ts';
import { readCount, readKey, readText, writeText } from './kernel-file.ts';

/** Version 2: one hierarchy; a folder has memory files only where its parent's subtree_control names memory. */
export function cgroupV2({ mount }: Extract<CgroupLayout, { version: 2 }>): CgroupController {
  const folder = (path: string): string => join(mount, path);
  const readLimit = (path: string): Bytes | null => {
    const text = readText(join(folder(path), 'memory.max')).trim();
    return text === 'max' ? null : (Number(text) as Bytes);
  };
  return {
    version: 2,
    memoryFolder: folder,
    files: { usage: 'memory.current', statKeys: statKeys(['anon', 'file', 'inactive_file', 'shmem']) },
    make(path) {
      const parent = dirname(folder(path));
      enable(parent, 'memory');
      if (offered(parent, 'pids')) enable(parent, 'pids');
      try {
        mkdirSync(folder(path));
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
      }
    },
    remove(path) {
      try {
        rmdirSync(folder(path));
      } catch (error) {
        if (!isAbsent(error)) throw error;
      }
    },
    setLimit(path, limitBytes) {
      if (limitBytes !== null) refuseToKill(folder(path), limitBytes);
      writeText(join(folder(path), 'memory.max'), limitBytes === null ? 'max' : String(limitBytes));
    },
    readLimit,
    state: (path) => ({
      limitBytes: readLimit(path),
      peakBytes: readPeak(folder(path)),
      populated: readKey(join(folder(path), 'cgroup.events'), 'populated') === 1,
      oomKills: readKey(join(folder(path), 'memory.events.local'), 'oom_kill'),
    }),
    kill(path) {
      try {
        writeText(join(folder(path), 'cgroup.kill'), '1');
      } catch (error) {
        if (isAbsent(error) && present(folder(path)))
          throw new HostError('EOPNOTSUPP', 'cgroups.kill', path, {
            detail: 'cgroup.kill needs Linux 5.14',
            cause: error,
          });
        throw error;
      }
    },
  };
}

/** memory.max below what cannot be reclaimed would kill (memory_max_write, mm/memcontrol.c); v1 refuses with EBUSY, and so does this. */
function refuseToKill(folder: string, limitBytes: number): void {
  const stat = join(folder, 'memory.stat');
  const reclaimableBytes = readKey(stat, 'file') - readKey(stat, 'shmem') + readKey(stat, 'slab_reclaimable');
  if (readCount(join(folder, 'memory.current')) - reclaimableBytes > limitBytes)
    throw Object.assign(new Error('usage cannot be brought under the limit'), { code: 'EBUSY' });
}

function enable(folder: string, controller: string): void {
  const file = join(folder, 'cgroup.subtree_control');
  if (!readText(file).trim().split(' ').includes(controller)) writeText(file, `+${controller}`);
}

const offered = (folder: string, controller: string): boolean =>
  readText(join(folder, 'cgroup.controllers')).trim().split(' ').includes(controller);

function readPeak(folder: string): number {
  try {
    return readCount(join(folder, 'memory.peak'));
  } catch (error) {
    if (isAbsent(error) && present(folder))
      throw new HostError('EOPNOTSUPP', 'cgroups.list', folder, {
        detail: 'memory.peak needs Linux 5.19',
        cause: error,
      });
    throw error;
  }
}

function present(folder: string): boolean {
  try {
    readText(join(folder, 'cgroup.procs'));
    return true;
  } catch {
    return false;
  }
}
