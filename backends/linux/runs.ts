import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostError } from '../../src/host/errors.ts';
import { type CgroupLayout, requireLayout } from './cgroup-layout.ts';
import { linuxCgroups, type LinuxCgroups } from './cgroups.ts';
import { linuxClock, monotonicMs } from './clock.ts';
import { isAlive, ownerOf, runFolderOf, runsFolder, sendKill } from './owner.ts';
import { supervisorPids } from './supervision.ts';

/** tmpfs, on every Linux. */
const SHARED_MEMORY = '/dev/shm';

/** What SIGKILL was sent to is gone within this. */
const EMPTY_WITHIN_MS = 30_000;

const POLL_MS = 3;

/** Where one host keeps what it makes, all named by its mark. */
export interface RunFolders {
  readonly run: string;
  readonly supervisors: string;
  readonly shared: string;
  readonly cache: string;
}

/** The folders of the run of this mark. */
export const foldersOf = (mark: string, run = runFolderOf(mark)): RunFolders => ({
  run,
  supervisors: join(run, 'supervisors'),
  shared: join(SHARED_MEMORY, mark),
  cache: join(tmpdir(), mark),
});

/** Ends all processes of a run and removes all that it made. */
export async function removeRun(cgroups: LinuxCgroups, folders: RunFolders): Promise<void> {
  await endSupervisors(folders.supervisors);
  await emptyCgroups(cgroups);
  cgroups.removeRoot();
  // A process that is about to end may still make a file in a folder that is being removed: hence the retries.
  for (const folder of [folders.shared, folders.cache, folders.run])
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  removeIfEmpty(runsFolder());
}

async function endSupervisors(folder: string): Promise<void> {
  const untilMs = monotonicMs() + EMPTY_WITHIN_MS;
  for (let pids = supervisorPids(folder); pids.length > 0; pids = supervisorPids(folder)) {
    for (const pid of pids) sendKill(pid);
    if (monotonicMs() > untilMs)
      throw new HostError('ETIMEDOUT', 'supervision.release', folder, {
        detail: `process ${pids[0]} survives SIGKILL`,
      });
    await linuxClock.sleep(POLL_MS);
  }
}

/** Other runs may have their folders in it. */
function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error;
  }
}

async function emptyCgroups(cgroups: LinuxCgroups): Promise<void> {
  const untilMs = monotonicMs() + EMPTY_WITHIN_MS;
  while (existsSync(cgroups.folder(''))) {
    const populated = (await cgroups.list()).filter((state) => state.populated);
    if (populated.length === 0) return;
    if (monotonicMs() > untilMs)
      throw new HostError('ETIMEDOUT', 'cgroups.kill', populated[0]!.path, {
        detail: `${populated.length} cgroups still hold processes after SIGKILL`,
      });
    cgroups.killAll();
    await linuxClock.sleep(POLL_MS);
  }
}

/** The marks of all runs that are on this machine, in order, and whether their owners live. */
export function runsHere(cgroupMount?: string): { readonly mark: string; readonly isAlive: boolean }[] {
  const layout = requireLayout(cgroupMount);
  const marks = new Set([...mountsOf(layout), runsFolder(), SHARED_MEMORY, tmpdir()].flatMap(namesIn));
  return [...marks].sort().flatMap((mark) => {
    const owner = ownerOf(mark);
    return owner === null ? [] : [{ mark, isAlive: isAlive(owner) }];
  });
}

/**
 * Removes what dead runs left: every mark whose owner does not live. A living owner's is never touched.
 * Returns the marks that were removed.
 */
export async function sweepDeadRuns(cgroupMount?: string): Promise<readonly string[]> {
  const dead = runsHere(cgroupMount).flatMap((run) => (run.isAlive ? [] : [run.mark]));
  for (const mark of dead)
    await removeRun(
      linuxCgroups({ root: mark, ...(cgroupMount === undefined ? {} : { cgroupMount }) }),
      foldersOf(mark),
    );
  return dead;
}

const mountsOf = (layout: CgroupLayout): string[] =>
  layout.version === 1 ? [layout.memoryMount, layout.freezerMount] : [layout.mount];

const namesIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
