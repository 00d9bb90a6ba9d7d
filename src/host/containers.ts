import type { Applied } from './batch.ts';
import type { CgroupPath } from './cgroups.ts';
import type { NamespaceName } from './namespaces.ts';
import type { Workload } from './workload.ts';

/** A container to be running: a process tree in a cgroup of its own, which must be there. */
export interface ContainerSpec {
  readonly name: string;
  readonly cgroup: CgroupPath;
  readonly workload: Workload;
  /** The network namespace it lives in, which must be there; the host's own unless set. */
  readonly namespace?: NamespaceName;
}

/** What is there. `created`: a cgroup in which nothing has run; `exited`: everything that ran in it is gone. */
export interface ContainerState {
  readonly name: string;
  readonly cgroup: CgroupPath;
  readonly phase: 'created' | 'running' | 'exited';
  /** Did the kernel's own OOM killer take a process of it? */
  readonly oomKilled: boolean;
}

/** Containers by their own processes. The Docker keeping observes and kills, and answers EOPNOTSUPP to the rest. */
export interface Containers {
  /** Those of one call begin their curves at the same moment. EEXIST where one of the name runs. */
  start(specs: readonly ContainerSpec[]): Promise<Applied>;
  /** Ends them, whole, and resolves when nothing of them lives. One that is not running is no error. */
  stop(names: readonly string[]): Promise<Applied>;
  /** In order of name. */
  list(): Promise<readonly ContainerState[]>;
}
