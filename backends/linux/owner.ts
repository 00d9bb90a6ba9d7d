import { lstatSync, mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostError } from '../../src/host/errors.ts';
import { errnoOf, hostError, isAbsent } from './errors.ts';

/** A process that cannot be mistaken for a later one of the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: when it started, in clock ticks since boot. */
  readonly startTicks: string;
}

/** Whoever began a run. */
export interface Owner extends ProcessIdentity {
  /** The inode of /proc/PID/ns/pid: its number is its own there, and there alone. */
  readonly pidNamespace: string;
}

/** Who has this number now; null where nobody lives (a zombie does not). @throws Error where that cannot be told. */
export function identityOf(pid: number): ProcessIdentity | null {
  const stat = readStat(pid);
  if (stat === null) return null;
  // The command's name, in parentheses, may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  return state === 'Z' || state === 'X' ? null : { pid, startTicks: fields[19]! };
}

/** Null where there is no such process: it was never there (ENOENT), or ended while it was being read (ESRCH). */
function readStat(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw error;
  }
}

/** Does this very process live? */
export const isAlive = ({ pid, startTicks }: ProcessIdentity): boolean => identityOf(pid)?.startTicks === startTicks;

/** May the owner of a run live? One of another pid namespace may: what number it has here cannot be told. */
export const mayLive = (owner: Owner): boolean => owner.pidNamespace !== pidNamespace() || isAlive(owner);

/** SIGKILL; one that is gone already is no error. */
export function sendKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/** A host's name as a scenario may have it. */
const NAME = '[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?';
const MARK = new RegExp(String.raw`^plimsoll-run-([1-9]\d*)-(\d+)-(\d+)-${NAME}$`);

/** The mark that all of one run carries: `plimsoll-run-PID-STARTTICKS-PIDNAMESPACE-NAME`, of this process unless another is named. */
export function runMark(name: string, owner: Owner = { ...self(), pidNamespace: pidNamespace() }): string {
  const mark = `plimsoll-run-${owner.pid}-${owner.startTicks}-${owner.pidNamespace}-${name}`;
  if (ownerOf(mark) !== null) return mark;
  throw new HostError('EINVAL', 'run', name, {
    detail: 'a host is named with letters, digits, "-", "_" and ".", beginning and ending with a letter or digit',
  });
}

/** Whose mark is it? Null where it is no run's. */
export function ownerOf(mark: string): Owner | null {
  const match = MARK.exec(mark);
  return match ? { pid: Number(match[1]), startTicks: match[2]!, pidNamespace: match[3]! } : null;
}

/** This process. */
export function self(): ProcessIdentity {
  const identity = identityOf(process.pid);
  if (identity === null) throw new Error('/proc/self/stat cannot be read: is /proc mounted?');
  return identity;
}

/** `pid:[INODE]`; a kernel without namespaces has but one, 0. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))![0];
  } catch (error) {
    if (isAbsent(error)) return '0';
    throw error;
  }
}

/** Is this a folder, no link to one, and this user's own? Others may make what they like in /tmp and /dev/shm. */
export function isOwnFolder(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.isDirectory() && found.uid === process.geteuid?.();
}

/** Makes a folder that nobody else can look or write into, its parent being there. @throws HostError EEXIST where something else has its name. */
export function makeOwnFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw hostError('run.begin', path, error);
  }
  if (!isOwnFolder(path))
    throw new HostError('EEXIST', 'run.begin', path, {
      detail: 'something that is no folder of this user has its name: remove it',
    });
}

/** Where the folders of runs are: `/run/plimsoll` for root, the temporary folder for others. */
export const runsFolder = (): string => (process.getuid?.() === 0 ? '/run/plimsoll' : join(tmpdir(), 'plimsoll'));

/** The folder of one run. */
export const runFolderOf = (mark: string): string => join(runsFolder(), mark);
