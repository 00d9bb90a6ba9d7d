import { existsSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupState } from '../../src/host/cgroups.ts';
import type { Bytes } from '../../src/host/units.ts';
import { isAbsent } from './errors.ts';
import { readText, writeText } from './kernel-file.ts';

/** What differs between the two versions of the kernel's interface. Folders are relative to the mount; all throw raw errors. */
export interface CgroupController {
  readonly version: 1 | 2;
  /** Where memory is accounted. */
  readonly memoryFolder: (path: string) => string;
  /** Its folder in every hierarchy, in the order in which they are removed. */
  readonly folders: (path: string) => readonly string[];
  /** Readies the root of a host that was just made. @throws HostError EOPNOTSUPP where this kernel lacks what is needed. */
  prepareRoot(path: string): void;
  /** Makes one folder, its parent being there; one that is there is left as it is. */
  make(path: string): void;
  /** Removes one folder; one that is gone is no error. */
  remove(path: string): void;
  /** Moves a process into it. */
  join(path: string, pid: number): void;
  setLimit(path: string, limitBytes: number | null): void;
  readLimit(path: string): Bytes | null;
  /** Of the folder itself; whether children are populated is not asked here. */
  state(path: string): Omit<CgroupState, 'path'>;
  /** Does anybody live in it or under it? Nobody does where it is not there. */
  isPopulated(path: string): boolean;
  /** SIGKILL to everything in it and under it, also to what stands still there. */
  kill(path: string): void;
  /** What a reader reads. */
  readonly files: {
    readonly usage: string;
    /** memory.stat's lines for anon, file, inactive_file and shmem, in this order. */
    readonly statKeys: readonly Uint8Array[];
  };
}

/** memory.stat's keys as bytes, so that no strings are made in a look. */
export const statKeys = (names: readonly string[]): readonly Uint8Array[] =>
  names.map((name) => new TextEncoder().encode(name));

/** What the kernel swaps to: a heading, and a line for each. */
export const SWAPS = '/proc/swaps';

/** Where there is swap, keeps a root and all under it from it by writing 0: memory that moves out to swap is used, and not counted. */
export function forbidSwap(file: string, swaps: string): void {
  const isOn = existsSync(swaps) && readText(swaps).trim().split('\n').length > 1;
  if (isOn && existsSync(file)) writeText(file, '0');
}

/** Removes a folder; one that is gone is no error. */
export function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

/** Folders under this one, itself first, each before what is in it. Empty where it is not there. */
export function foldersUnder(folder: string): string[] {
  const found = [folder];
  for (const current of found) {
    let entries;
    try {
      entries = readdirSync(current, { withFileTypes: true });
    } catch (error) {
      if (!isAbsent(error)) throw error;
      continue;
    }
    for (const entry of entries) if (entry.isDirectory()) found.push(join(current, entry.name));
  }
  return found;
}
