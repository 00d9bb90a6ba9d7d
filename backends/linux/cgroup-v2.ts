import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HostError } from '../../src/host/errors.ts';
import type { Bytes } from '../../src/host/units.ts';
import { type CgroupController, forbidSwap, removeFolder, statKeys, SWAPS } from './cgroup-controller.ts';
import type { CgroupLayout } from './cgroup-layout.ts';
import { errnoOf, isAbsent, Refusal } from './errors.ts';
import { readCount, readKey, readText, writeText } from './kernel-file.ts';

/** The files that are relied on, and the Linux that brought them; without them a root is refused. */
const NEEDED_SINCE = { 'cgroup.kill': '5.14', 'memory.peak': '5.19' };

/** Version 2: one hierarchy; a folder has memory files only where its parent's subtree_control names memory. */
export function cgroupV2({ mount }: Extract<CgroupLayout, { version: 2 }>, swaps = SWAPS): CgroupController {
  const folder = (path: string): string => join(mount, path);
  const readLimit = (path: string): Bytes | null => {
    const text = readText(join(folder(path), 'memory.max')).trim();
    return text === 'max' ? null : (Number(text) as Bytes);
  };
  return {
    version: 2,
    memoryFolder: folder,
    folders: (path) => [folder(path)],
    files: { usage: 'memory.current', statKeys: statKeys(['anon', 'file', 'inactive_file', 'shmem']) },
    prepareRoot(path) {
      for (const [file, since] of Object.entries(NEEDED_SINCE))
        if (!existsSync(join(folder(path), file)))
          throw new HostError('EOPNOTSUPP', 'cgroups.create', path, { detail: `${file} needs Linux ${since}` });
      forbidSwap(join(folder(path), 'memory.swap.max'), swaps);
    },
    make(path) {
      enableMemory(dirname(folder(path)));
      try {
        mkdirSync(folder(path));
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
      }
    },
    remove: (path) => removeFolder(folder(path)),
    join: (path, pid) => writeText(join(folder(path), 'cgroup.procs'), String(pid)),
    setLimit(path, limitBytes) {
      if (limitBytes !== null) refuseToKill(folder(path), limitBytes);
      writeText(join(folder(path), 'memory.max'), limitBytes === null ? 'max' : String(limitBytes));
    },
    readLimit,
    state: (path) => ({
      limitBytes: readLimit(path),
      peakBytes: readCount(join(folder(path), 'memory.peak')),
      populated: isPopulated(folder(path)),
      oomKills: readKey(join(folder(path), 'memory.events.local'), 'oom_kill'),
    }),
    isPopulated(path) {
      try {
        return isPopulated(folder(path));
      } catch (error) {
        if (isAbsent(error)) return false;
        throw error;
      }
    },
    kill: (path) => writeText(join(folder(path), 'cgroup.kill'), '1'),
  };
}

/** memory.max below what cannot be reclaimed would kill (memory_max_write, mm/memcontrol.c); v1 refuses with EBUSY, and so does this. */
function refuseToKill(folder: string, limitBytes: number): void {
  const stat = join(folder, 'memory.stat');
  const reclaimableBytes = readKey(stat, 'file') - readKey(stat, 'shmem') + readKey(stat, 'slab_reclaimable');
  if (readCount(join(folder, 'memory.current')) - reclaimableBytes > limitBytes)
    throw Object.assign(new Error('usage cannot be brought under the limit'), { code: 'EBUSY' });
}

const isPopulated = (folder: string): boolean => readKey(join(folder, 'cgroup.events'), 'populated') === 1;

/** Has the kernel account memory in this folder's children. */
function enableMemory(folder: string): void {
  const file = join(folder, 'cgroup.subtree_control');
  if (readText(file).trim().split(' ').includes('memory')) return;
  try {
    writeText(file, '+memory');
  } catch (error) {
    const code = errnoOf(error);
    const command = `echo +memory > ${file}`;
    if (code === 'EBUSY')
      throw new Refusal(
        code,
        `processes stand in ${folder}, which keeps the memory controller from its children: move them (mkdir ${folder}/others && for pid in $(cat ${folder}/cgroup.procs); do echo $pid > ${folder}/others/cgroup.procs; done), then run: ${command}`,
        error,
      );
    if (code === 'EACCES' || code === 'EPERM') throw new Refusal(code, `run as root: ${command}`, error);
    throw error;
  }
}
