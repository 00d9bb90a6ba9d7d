import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoOf } from './errors.ts';

/** A process that cannot be mistaken for a later one of the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: when it started, in clock ticks since boot. */
  readonly startTicks: string;
}

/** Who has this number now; null where nobody lives (a zombie does not). */
export function identityOf(pid: number): ProcessIdentity | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command's name, in parentheses, may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const state = fields[0];
    return state === 'Z' || state === 'X' ? null : { pid, startTicks: fields[19]! };
  } catch {
    return null;
  }
}

/** Does this very process live? */
export const isAlive = ({ pid, startTicks }: ProcessIdentity): boolean => identityOf(pid)?.startTicks === startTicks;

/** SIGKILL; one that is gone already is no error. */
export function sendKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/** The mark that all of one run carries: `plimsoll-PID-STARTTICKS-NAME`, of this process unless another is named. */
export function runMark(name: string, owner: ProcessIdentity = self()): string {
  return `plimsoll-${owner.pid}-${owner.startTicks}-${name}`;
}

/** Whose mark is it? Null where it is no run's. */
export function ownerOf(mark: string): ProcessIdentity | null {
  const match = /^plimsoll-(\d+)-(\d+)-/.exec(mark);
  return match ? { pid: Number(match[1]), startTicks: match[2]! } : null;
}

/** This process. */
export function self(): ProcessIdentity {
  const identity = identityOf(process.pid);
  if (identity === null) throw new Error('/proc/self/stat cannot be read: is /proc mounted?');
  return identity;
}

/** Where the folders of runs are: `/run/plimsoll` for root, the temporary folder for others. */
export const runsFolder = (): string => (process.getuid?.() === 0 ? '/run/plimsoll' : join(tmpdir(), 'plimsoll'));

/** The folder of one run. */
export const runFolderOf = (mark: string): string => join(runsFolder(), mark);
