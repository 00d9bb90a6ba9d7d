import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../../src/host/errors.ts';

/** Where the memory controller is on this machine. */
export type CgroupLayout =
  | { readonly version: 1; readonly memoryMount: string; readonly freezerMount: string }
  | { readonly version: 2; readonly mount: string };

/** Finds the memory controller in the kernel's list of mounts, or null. v1 has it wherever a v1 hierarchy holds it. */
export function findLayout(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): CgroupLayout | null {
  const mounts = mountinfo.split('\n').flatMap(parseMount);
  const holding = (controller: string): string | undefined =>
    mounts.find(({ type, options }) => type === 'cgroup' && options.includes(controller))?.point;
  const memoryMount = holding('memory');
  const freezerMount = holding('freezer');
  if (memoryMount !== undefined && freezerMount !== undefined) return { version: 1, memoryMount, freezerMount };
  const unified = mounts.find(({ type, point }) => type === 'cgroup2' && offersMemory(point));
  return unified === undefined ? null : { version: 2, mount: unified.point };
}

/** The layout of a tree by hand: one with `memory` and `freezer` under it is v1, else v2. */
export const layoutAt = (mount: string): CgroupLayout =>
  existsSync(join(mount, 'memory'))
    ? { version: 1, memoryMount: join(mount, 'memory'), freezerMount: join(mount, 'freezer') }
    : { version: 2, mount };

/** The layout to work with. @throws HostError EOPNOTSUPP where there is no memory controller. */
export function requireLayout(cgroupMount?: string): CgroupLayout {
  const layout = cgroupMount === undefined ? findLayout() : layoutAt(cgroupMount);
  if (layout !== null) return layout;
  throw new HostError('EOPNOTSUPP', 'cgroups.find', 'the memory controller', {
    detail:
      'no memory controller in any cgroup mount of /proc/self/mountinfo (v1 needs freezer too): boot with cgroup_enable=memory, or mount cgroup2',
  });
}

interface Mount {
  readonly point: string;
  readonly type: string;
  readonly options: readonly string[];
}

function parseMount(line: string): Mount[] {
  const [before, after] = line.split(' - ');
  const point = before?.split(' ')[4];
  const [type, , options] = after?.split(' ') ?? [];
  return point === undefined || type === undefined
    ? []
    : [{ point: unescapeOctal(point), type, options: options?.split(',') ?? [] }];
}

/** The kernel writes space, tab, newline and backslash of a path as three octal digits. */
const unescapeOctal = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCodePoint(Number.parseInt(digits, 8)));

function offersMemory(mount: string): boolean {
  try {
    return readFileSync(join(mount, 'cgroup.controllers'), 'utf8').trim().split(' ').includes('memory');
  } catch {
    return false;
  }
}
