import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { HostError } from '../../src/host/errors.ts';
import { type CgroupLayout, requireLayout } from './cgroup-layout.ts';
import { linuxCgroups, type LinuxCgroups } from './cgroups.ts';
import { linuxClock, monotonicMs } from './clock.ts';
import { isAbsent } from './errors.ts';
import { networkMarks, removeNetwork } from './fabric.ts';
import { isOwnFolder, makeOwnFolder, mayLive, ownerOf, runFolderOf, runsFolder, sendKill } from './owner.ts';
import { lockRoot, type RootLock } from './root-lock.ts';
import { supervisorPids } from './supervision.ts';

/** tmpfs, on every Linux. */
const SHARED_MEMORY = '/dev/shm';

/** What SIGKILL was sent to is gone within this. */
const EMPTY_WITHIN_MS = 30_000;

/** Who was on the way in when the others were killed is killed with the next. */
const KILL_AGAIN_MS = 100;

const POLL_MS = 3;

/** In the run's folder, the path of its cache folder: whoever removes the run may have another TMPDIR. */
const CACHE_FOLDER_FILE = 'cache-folder';

/** Where one host keeps what it makes, all named by its mark. */
export interface RunFolders {
  readonly run: string;
  readonly supervisors: string;
  readonly shared: string;
  readonly cache: string;
}

/** The folders of the run of this mark. */
export function foldersOf(mark: string): RunFolders {
  const run = runFolderOf(mark);
  return {
    run,
    supervisors: join(run, 'supervisors'),
    shared: join(SHARED_MEMORY, mark),
    cache: recordedCacheFolder(mark, run) ?? join(tmpdir(), mark),
  };
}

function recordedCacheFolder(mark: string, run: string): string | null {
  let path: string;
  try {
    path = readFileSync(join(run, CACHE_FOLDER_FILE), 'utf8');
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
  // Cut short as it was written, or not by us.
  return path.startsWith('/') && basename(path) === mark ? path : null;
}

/** Makes the folders of a run, or takes over those that are there. @throws HostError EEXIST where something else has their names. */
export function makeFolders({ run, shared, cache }: RunFolders): void {
  mkdirSync(dirname(run), { recursive: true, mode: 0o700 });
  for (const folder of dirname(run) === runsFolder() ? [dirname(run), run] : [run]) makeOwnFolder(folder);
  writeFileSync(join(run, CACHE_FOLDER_FILE), cache);
  for (const folder of [shared, cache]) makeOwnFolder(folder);
}

/** Ends all processes of a run and removes all that it made. */
export async function removeRun(cgroups: LinuxCgroups, folders: RunFolders): Promise<void> {
  await endSupervisors(folders.supervisors);
  await removeCgroups(cgroups);
  await removeNetwork(cgroups.root);
  // A process that is about to end may still make a file in a folder that is being removed: hence the retries.
  for (const folder of [folders.shared, folders.cache, folders.run])
    if (isOwnFolder(folder)) rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
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

async function removeCgroups(cgroups: LinuxCgroups): Promise<void> {
  const untilMs = monotonicMs() + EMPTY_WITHIN_MS;
  for (let againMs = 0; ; await linuxClock.sleep(POLL_MS)) {
    const nowMs = monotonicMs();
    if (!cgroups.isPopulated()) {
      try {
        return cgroups.removeRoot();
      } catch (error) {
        // Somebody came in since we looked, or has only just ended.
        if (!(error instanceof HostError && error.code === 'EBUSY') || nowMs > untilMs) throw error;
      }
    } else if (nowMs > untilMs) {
      throw new HostError('ETIMEDOUT', 'cgroups.kill', cgroups.folder(''), {
        detail: 'it still holds processes after SIGKILL',
      });
    } else if (nowMs > againMs) {
      cgroups.killAll();
      againMs = nowMs + KILL_AGAIN_MS;
    }
  }
}

/** A run on this machine. One whose owner is of another pid namespace counts as alive. */
export interface RunHere {
  readonly mark: string;
  readonly isAlive: boolean;
}

/** The marks of all runs that are on this machine, in order, and whether their owners live. */
export function runsHere(cgroupMount?: string): RunHere[] {
  const layout = requireLayout(cgroupMount);
  const inCgroups = mountsOf(layout).flatMap(namesIn);
  const inFolders = [runsFolder(), SHARED_MEMORY, tmpdir()].flatMap((folder) =>
    namesIn(folder).filter((name) => ownerOf(name) !== null && isOwnFolder(join(folder, name))),
  );
  return [...new Set([...inCgroups, ...inFolders, ...networkMarks()])].sort().flatMap((mark) => {
    const owner = ownerOf(mark);
    return owner === null ? [] : [{ mark, isAlive: mayLive(owner) }];
  });
}

const warn = (mark: string, error: unknown): void =>
  process.emitWarning(
    `what a dead run left could not be removed, ${mark}: ${error instanceof Error ? error.message : String(error)}`,
  );

/**
 * Removes what dead runs left: every mark whose owner does not live. A living owner's is never touched, nor one that a living
 * process has taken over. What cannot be removed is told to `onFailure`, and hinders no other. Returns the marks that were removed.
 */
export async function sweepDeadRuns(cgroupMount?: string, onFailure = warn): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const { mark, isAlive } of runsHere(cgroupMount)) {
    const lock = isAlive ? null : await lockUnlessHeld(mark);
    if (lock === null) continue;
    try {
      await removeRun(
        linuxCgroups({ root: mark, ...(cgroupMount === undefined ? {} : { cgroupMount }) }),
        foldersOf(mark),
      );
      removed.push(mark);
    } catch (error) {
      onFailure(mark, error);
    } finally {
      lock.release();
    }
  }
  return removed;
}

/** Null: a living process has taken over what the dead one left. */
async function lockUnlessHeld(mark: string): Promise<RootLock | null> {
  try {
    return await lockRoot(mark);
  } catch (error) {
    if (error instanceof HostError && error.code === 'EBUSY') return null;
    throw error;
  }
}

const mountsOf = (layout: CgroupLayout): string[] =>
  layout.version === 1 ? [layout.memoryMount, layout.freezerMount] : [layout.mount];

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}
