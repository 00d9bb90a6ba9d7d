import type { Applied } from './batch.ts';
import type { CgroupPath, Cgroups } from './cgroups.ts';
import type { Bytes, Milliseconds } from './units.ts';

/** The memory rule's figures, resolved: stopAt <= killAt < ceiling. */
export interface MemoryLine {
  readonly hardLimitBytes: Bytes;
  /** Past this total somebody is killed. */
  readonly killAtBytes: Bytes;
  /** Killing stops at or below this total. */
  readonly stopAtBytes: Bytes;
  /** The parent cgroup's own limit in the kernel: the last resort. */
  readonly ceilingBytes: Bytes;
  /** Between two looks. */
  readonly lookEveryMs: Milliseconds;
}

/** A policy by name, or a user's own by the path of its file. */
export interface PolicyReference {
  readonly name: string;
  readonly file?: string;
}

/** One container as the supervisor must know it. */
export interface SupervisedContainer {
  readonly name: string;
  readonly cgroup: CgroupPath;
  readonly requestBytes: Bytes;
  /** Larger is more important (Kubernetes' sense); 0 unless set. */
  readonly priority: number;
}

/** All that the supervisor of a machine must know. Plain data: it crosses into another process. */
export interface SupervisorSettings {
  readonly parent: CgroupPath;
  readonly policy: PolicyReference;
  readonly line: MemoryLine;
  /** Decide and record, but do not kill. */
  readonly dry: boolean;
  readonly containers: readonly SupervisedContainer[];
}

/** What the supervisor saw and did, in order of `atMs` (the host's monotonic clock). */
export type SupervisorEvent =
  /** A look at which the children were read. Far looks are told by the sample of their second. */
  | { readonly kind: 'look'; readonly atMs: number; readonly totalBytes: number }
  /** Each second, whatever the looks do: total and, by container, what cannot be reclaimed. */
  | {
      readonly kind: 'sample';
      readonly atMs: number;
      readonly totalBytes: number;
      readonly workingSetBytes: Readonly<Record<string, number>>;
    }
  | Decision
  /** A victim that still holds memory 1 s after its SIGKILL counts again and is passed over. */
  | { readonly kind: 'passedOver'; readonly atMs: number; readonly container: string; readonly heldBytes: number }
  | { readonly kind: 'trouble'; readonly atMs: number; readonly message: string };

/** Why a container was killed, or would have been. */
export interface Decision {
  readonly kind: 'decision';
  readonly atMs: number;
  readonly container: string;
  readonly totalBytes: number;
  readonly workingSetBytes: number;
  readonly requestBytes: number;
  readonly reason: string;
  readonly outcome: 'killed' | 'dry' | 'failed';
  /** Of a failed kill. */
  readonly error?: string;
}

/** Keeps a supervisor looking at the machine's containers, in a life of its own: it outlives the engine. */
export interface Supervision {
  /** Hands over the settings of each parent, starting its supervisor where none runs. */
  supervise(settings: readonly SupervisorSettings[]): Promise<Applied>;
  /** Ends the supervisors of these parents; none there is no error. */
  release(parents: readonly CgroupPath[]): Promise<Applied>;
  /** The settings each living supervisor works by. */
  list(): Promise<readonly SupervisorSettings[]>;
  /** What came since the last call, over all parents; after a crash of the engine also what it never took. */
  take(): readonly SupervisorEvent[];
}

/** A supervisor at work: synchronous, so that nothing can come between reading and killing. */
export interface Supervisor {
  /** Looks once, killing if the policy says so. Returns the time of the next look. */
  look(nowMs: number): number;
  /** Works by new settings from the next look on. */
  configure(settings: SupervisorSettings): void;
  /** Closes what it kept open. */
  close(): void;
}

/** Makes a supervisor. Hosts are given one, as they are given every piece of the product's own code that they run. */
export type SupervisorFactory = (
  cgroups: Pick<Cgroups, 'open' | 'kill'>,
  settings: SupervisorSettings,
  emit: (event: SupervisorEvent) => void,
) => Supervisor;
