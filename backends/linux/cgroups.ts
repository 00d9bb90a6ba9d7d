import { dirname, join, relative } from 'node:path';
import type { Applied } from '../../src/host/batch.ts';
import type {
  CgroupLimit,
  CgroupPath,
  CgroupReader,
  Cgroups,
  CgroupSpec,
  CgroupState,
  MemoryStat,
} from '../../src/host/cgroups.ts';
import { HostError } from '../../src/host/errors.ts';
import { type CgroupController, foldersUnder, removeFolder } from './cgroup-controller.ts';
import { requireLayout } from './cgroup-layout.ts';
import { cgroupV1 } from './cgroup-v1.ts';
import { cgroupV2 } from './cgroup-v2.ts';
import { hostError, inOrder, isAbsent } from './errors.ts';
import { KernelFile } from './kernel-file.ts';

const PAGE_BYTES = 4096;

/** Where a host's cgroups are: plain data, because it crosses into the processes it starts. */
export interface CgroupPlace {
  /** The folder of all that is this host's, under the mount of the controller. */
  readonly root: string;
  /** In place of what /proc/self/mountinfo says. */
  readonly cgroupMount?: string;
}

/** The cgroups of one host. @throws HostError EOPNOTSUPP where the machine has no memory controller. */
export function linuxCgroups({ root, cgroupMount }: CgroupPlace): LinuxCgroups {
  const layout = requireLayout(cgroupMount);
  return new LinuxCgroups(layout.version === 1 ? cgroupV1(layout) : cgroupV2(layout), root);
}

/** Cgroups of the kernel, under one root of our own. */
export class LinuxCgroups implements Cgroups {
  readonly version: 1 | 2;
  /** The mark of all that is this host's. */
  readonly root: string;
  readonly #controller: CgroupController;

  constructor(controller: CgroupController, root: string) {
    // Joined to the mount by a shell or by `join`, nothing else stays one folder under it.
    if (!/^[^/\0]+$/.test(root) || root === '.' || root === '..')
      throw new HostError('EINVAL', 'cgroups.open', root, {
        detail: 'the root of a host is one name under the mount, such as the mark of its run',
      });
    this.version = controller.version;
    this.#controller = controller;
    this.root = root;
  }

  /** Makes the root itself. @throws HostError EACCES or EPERM where that takes root, EOPNOTSUPP where the kernel is too old. */
  makeRoot(): void {
    this.#do('cgroups.create', this.root, () => {
      this.#controller.make(this.root);
      try {
        this.#controller.prepareRoot(this.root);
      } catch (error) {
        this.#controller.remove(this.root);
        throw error;
      }
    });
  }

  /** Removes the root and all that is under it in every hierarchy, deepest first; nothing may live in it any more. */
  removeRoot(): void {
    for (const top of this.#controller.folders(this.root))
      for (const folder of foldersUnder(top).toReversed())
        this.#do('cgroups.remove', folder, () => removeFolder(folder));
  }

  /** Does anybody live in this one or under it? Without a path, under the root. Nobody does where it is not there. */
  isPopulated(path?: CgroupPath): boolean {
    const at = path === undefined ? this.root : this.#inside('cgroups.list', path);
    return this.#do('cgroups.list', path ?? this.root, () => this.#controller.isPopulated(at));
  }

  /** Moves a process in. */
  join(path: CgroupPath, pid: number): void {
    this.#do('cgroups.join', path, () => this.#controller.join(this.#inside('cgroups.join', path), pid));
  }

  /** Where the memory of this one is accounted, and where its cgroup.procs is. */
  folder(path: CgroupPath): string {
    return this.#controller.memoryFolder(join(this.root, path));
  }

  create(specs: readonly CgroupSpec[]): Promise<Applied> {
    return inOrder(
      specs,
      'cgroups.create',
      ({ path }) => path,
      ({ path }) => this.#controller.make(this.#inside('cgroups.create', path)),
    );
  }

  limit(limits: readonly CgroupLimit[]): Promise<Applied> {
    return inOrder(
      limits,
      'cgroups.limit',
      ({ path }) => path,
      ({ path, limitBytes }) => {
        const at = this.#inside('cgroups.limit', path);
        this.#controller.setLimit(at, limitBytes);
        const isBytes = this.#controller.readLimit(at);
        const wantedBytes = limitBytes === null ? null : limitBytes - (limitBytes % PAGE_BYTES);
        if (isBytes !== wantedBytes)
          throw new HostError('EIO', 'cgroups.limit', path, {
            detail: `wrote ${wantedBytes ?? 'no limit'}, but the kernel reads back ${isBytes ?? 'no limit'}`,
          });
      },
    );
  }

  remove(paths: readonly CgroupPath[]): Promise<Applied> {
    return inOrder(
      paths,
      'cgroups.remove',
      (path) => path,
      (path) => this.#controller.remove(this.#inside('cgroups.remove', path)),
    );
  }

  async list(): Promise<readonly CgroupState[]> {
    const states: CgroupState[] = [];
    const populated = new Set<CgroupPath>();
    for (const path of this.#paths()) {
      try {
        const state = { path, ...this.#controller.state(join(this.root, path)) };
        states.push(state);
        if (state.populated) for (let at = path; at !== '.'; at = dirname(at)) populated.add(at);
      } catch (error) {
        // One that went away while we were looking is not there.
        if (!isAbsent(error)) throw hostError('cgroups.list', path, error);
      }
    }
    return states.map((state) => Object.assign(state, { populated: populated.has(state.path) }));
  }

  open(path: CgroupPath): CgroupReader {
    const folder = this.#controller.memoryFolder(this.#inside('cgroups.open', path));
    return this.#do('cgroups.open', path, () => new LinuxCgroupReader(path, folder, this.#controller.files));
  }

  kill(path: CgroupPath): void {
    this.#do('cgroups.kill', path, () => this.#controller.kill(this.#inside('cgroups.kill', path)));
  }

  /** Kills whatever lives under the root; where there is none that is done. */
  killAll(): void {
    this.#do('cgroups.kill', this.root, () => {
      try {
        this.#controller.kill(this.root);
      } catch (error) {
        if (!isAbsent(error)) throw error;
      }
    });
  }

  #paths(): CgroupPath[] {
    const top = this.folder('');
    return foldersUnder(top)
      .slice(1)
      .map((folder) => relative(top, folder))
      .sort();
  }

  /** The path from the mount, of one that may not lead out of our root. */
  #inside(operation: string, path: CgroupPath): string {
    if (path.split('/').some((part) => part === '' || part === '.' || part === '..'))
      throw new HostError('EINVAL', operation, path, {
        detail: 'a cgroup path is names joined by "/", such as "pen/a"',
      });
    return join(this.root, path);
  }

  #do<T>(operation: string, target: string, act: () => T): T {
    try {
      return act();
    } catch (error) {
      throw hostError(operation, target, error);
    }
  }
}

class LinuxCgroupReader implements CgroupReader {
  readonly path: CgroupPath;
  readonly #folder: string;
  readonly #files: CgroupController['files'];
  readonly #usage: KernelFile;
  readonly #values = new Float64Array(4);
  /** Opened when it is first wanted: most looks at most children need their usage alone. */
  #stat: KernelFile | undefined;

  constructor(path: CgroupPath, folder: string, files: CgroupController['files']) {
    this.path = path;
    this.#folder = folder;
    this.#files = files;
    this.#usage = new KernelFile(join(folder, files.usage));
  }

  usageBytes(): number {
    try {
      return this.#usage.readNumber();
    } catch (error) {
      throw this.#failed(error);
    }
  }

  readStat(into: MemoryStat): MemoryStat {
    try {
      const stat = (this.#stat ??= this.#openStat());
      stat.readTable(this.#files.statKeys, this.#values);
    } catch (error) {
      throw this.#failed(error);
    }
    into.anonBytes = this.#values[0]!;
    into.fileBytes = this.#values[1]!;
    into.inactiveFileBytes = this.#values[2]!;
    into.shmemBytes = this.#values[3]!;
    return into;
  }

  close(): void {
    this.#usage.close();
    this.#stat?.close();
  }

  #openStat(): KernelFile {
    const stat = new KernelFile(join(this.#folder, 'memory.stat'));
    try {
      // Usage, kept open, still answers: so the folder was not made anew under the same name.
      this.#usage.readNumber();
      return stat;
    } catch (error) {
      stat.close();
      throw error;
    }
  }

  #failed(error: unknown): HostError {
    return isAbsent(error)
      ? new HostError('ENODEV', 'cgroups.read', this.path, { detail: 'the cgroup was removed', cause: error })
      : hostError('cgroups.read', this.path, error);
  }
}
