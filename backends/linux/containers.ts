import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Applied } from '../../src/host/batch.ts';
import type { CgroupState } from '../../src/host/cgroups.ts';
import type { Containers, ContainerSpec, ContainerState } from '../../src/host/containers.ts';
import { HostError } from '../../src/host/errors.ts';
import type { CgroupPlace, LinuxCgroups } from './cgroups.ts';
import { linuxClock, monotonicMs } from './clock.ts';
import { hostError, inOrder, isAbsent } from './errors.ts';
import type { NetworkRoot } from './netns.ts';

/** All processes of a batch are up within this; a hundred of them take 3 s on two cores. */
const READY_WITHIN_MS = 60_000;

/** A killed container is gone within this: death takes 70 ms a GB. */
const STOP_WITHIN_MS = 30_000;

/** A process that was on its way into the cgroup when it was killed is killed with the next. */
const KILL_AGAIN_MS = 100;

const POLL_MS = 3;

/** statfs(2): what tmpfs answers. Its pages are no cache that could be given back. */
const TMPFS_MAGIC = 0x01_02_19_94;

/** What the processes keeping needs to know. */
export interface ProcessesOptions {
  /** The program of a container: `src/processes/workload.ts`. */
  readonly entry: string;
  readonly place: CgroupPlace;
  /** On tmpfs, for memory that outlives its writer. */
  readonly sharedFolder: string;
  /** On a real file system, for files whose cache fills. */
  readonly cacheFolder: string;
  /** Where its network namespaces are. */
  readonly network: NetworkRoot;
}

/** Containers by Plimsoll's own processes. What there is, is told by the kernel alone. */
export class ProcessContainers implements Containers {
  readonly #cgroups: LinuxCgroups;
  readonly #options: ProcessesOptions;

  constructor(cgroups: LinuxCgroups, options: ProcessesOptions) {
    this.#cgroups = cgroups;
    this.#options = options;
  }

  async start(specs: readonly ContainerSpec[]): Promise<Applied> {
    let states: ReadonlyMap<string, CgroupState>;
    try {
      states = new Map((await this.#cgroups.list()).map((state) => [state.path, state]));
    } catch (error) {
      return { applied: 0, error: hostError('containers.start', specs[0]?.name ?? '', error) };
    }
    const checked = await inOrder(
      specs,
      'containers.start',
      ({ name }) => name,
      (spec) => this.#check(spec, states),
    );
    const launches = await Promise.all(specs.slice(0, checked.applied).map((spec) => this.#launch(spec)));
    const failed = launches.findIndex((launch) => launch instanceof HostError);
    const good = (failed < 0 ? launches : launches.slice(0, failed)) as Launch[];
    // Everybody waits in its cgroup by now: one moment for all.
    const epochNs = process.hrtime.bigint();
    for (const launch of good) for (const child of launch) go(child, epochNs);
    if (failed < 0) return checked;
    await Promise.all(
      launches.slice(failed).map(async (launch) => (launch instanceof HostError ? undefined : abandon(launch))),
    );
    return { applied: failed, error: launches[failed] as HostError };
  }

  /** Everybody is killed before anybody is waited for. */
  async stop(names: readonly string[]): Promise<Applied> {
    let running: readonly ContainerState[];
    try {
      running = (await this.list()).filter(({ phase }) => phase === 'running');
    } catch (error) {
      return { applied: 0, error: hostError('containers.stop', names[0] ?? '', error) };
    }
    const cgroupsOf = (name: string): string[] =>
      running.filter((state) => state.name === name).map(({ cgroup }) => cgroup);
    const killed = await inOrder(
      names,
      'containers.stop',
      (name) => name,
      (name) => cgroupsOf(name).forEach((cgroup) => this.#kill(cgroup)),
    );
    const untilMs = monotonicMs() + STOP_WITHIN_MS;
    const gone = await inOrder(
      names.slice(0, killed.applied),
      'containers.stop',
      (name) => name,
      async (name) => {
        let againMs = monotonicMs() + KILL_AGAIN_MS;
        while (cgroupsOf(name).some((cgroup) => this.#cgroups.isPopulated(cgroup))) {
          const nowMs = monotonicMs();
          if (nowMs > untilMs)
            throw new HostError('ETIMEDOUT', 'containers.stop', name, {
              detail: `it did not die within ${STOP_WITHIN_MS / 1000} s of SIGKILL`,
            });
          if (nowMs > againMs) {
            for (const cgroup of cgroupsOf(name)) this.#kill(cgroup);
            againMs = nowMs + KILL_AGAIN_MS;
          }
          await linuxClock.sleep(POLL_MS);
        }
      },
    );
    return gone.error === undefined ? killed : gone;
  }

  /** One that went away meanwhile has nobody in it. */
  #kill(cgroup: string): void {
    try {
      this.#cgroups.kill(cgroup);
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }

  async list(): Promise<readonly ContainerState[]> {
    const states = await this.#cgroups.list();
    const parents = new Set(states.map(({ path }) => parentOf(path)));
    return states
      .filter(({ path }) => path.includes('/') && !parents.has(path))
      .map((state) => ({
        name: basename(state.path),
        cgroup: state.path,
        phase: phaseOf(state),
        oomKilled: state.oomKills > 0,
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async #check(spec: ContainerSpec, states: ReadonlyMap<string, CgroupState>): Promise<void> {
    const { name, cgroup, workload } = spec;
    const refuse = (code: 'EEXIST' | 'EINVAL' | 'ENOENT' | 'EOPNOTSUPP', detail: string): never => {
      throw new HostError(code, 'containers.start', name, { detail });
    };
    if (basename(cgroup) !== name || !cgroup.includes('/'))
      refuse('EINVAL', `its cgroup must be PARENT/${name}, not ${cgroup}`);
    const state = states.get(cgroup);
    if (state === undefined) refuse('ENOENT', `its cgroup ${cgroup} does not exist`);
    else if (state.populated) refuse('EEXIST', 'it runs already');
    if (workload.shared === true) mkdirSync(this.#options.sharedFolder, { recursive: true });
    if (workload.cache !== undefined) {
      mkdirSync(this.#options.cacheFolder, { recursive: true });
      if ((await statfs(this.#options.cacheFolder)).type === TMPFS_MAGIC)
        refuse(
          'EOPNOTSUPP',
          `${this.#options.cacheFolder} is on tmpfs, whose pages are no file cache: set TMPDIR to a folder on a disk`,
        );
    }
  }

  /** Starts a container's processes and brings them into their cgroup, where they wait for the word. */
  async #launch(spec: ContainerSpec): Promise<Launch | HostError> {
    const { entry, place, sharedFolder, cacheFolder, network } = this.#options;
    const { name, cgroup, workload, namespace = '' } = spec;
    const launch: ChildProcess[] = [];
    const begin = async (index: number): Promise<void> => {
      // One young generation of 1 MiB, no helper threads: what the runtime itself uses is charged to the container.
      // A child begins in the network namespace of the thread that starts it.
      const child = network.within(namespace, () =>
        spawn(process.execPath, ['--max-semi-space-size=1', '--v8-pool-size=0', entry], {
          detached: true,
          stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
          env: { PATH: process.env['PATH'], UV_THREADPOOL_SIZE: '1' },
          cwd: '/',
        }),
      );
      launch.push(child);
      const isReady = ready(child);
      const order = {
        place,
        cgroup,
        workload,
        index,
        sharedFile: join(sharedFolder, `${name}.${index}`),
        cacheFile: join(cacheFolder, name),
      };
      channelOf(child)?.write(`${JSON.stringify(order)}\n`);
      await isReady;
    };
    try {
      await Promise.all(Array.from({ length: workload.processes ?? 1 }, (_, index) => begin(index)));
      return launch;
    } catch (error) {
      await abandon(launch);
      return hostError('containers.start', name, error, error instanceof Error ? error.message : undefined);
    }
  }
}

type Launch = readonly ChildProcess[];

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

function phaseOf({ populated, peakBytes }: CgroupState): ContainerState['phase'] {
  if (populated) return 'running';
  return peakBytes === 0 ? 'created' : 'exited';
}

/** A process that could not be spawned for want of file descriptors has none, whatever the types of Node say. */
const channelOf = (child: ChildProcess): Duplex | undefined =>
  (child.stdio as ChildProcess['stdio'] | undefined)?.[3] as Duplex | undefined;

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const channel = channelOf(child);
    const late = setTimeout(
      () => end(new Error(`its process was not ready within ${READY_WITHIN_MS / 1000} s`)),
      READY_WITHIN_MS,
    );
    const onExit = (code: number | null, signal: string | null): void =>
      end(new Error(`its process ended before it was ready: ${signal ?? `exit code ${code}`}`));
    const end = (error?: Error): void => {
      clearTimeout(late);
      child.off('exit', onExit);
      if (error === undefined) resolve();
      else reject(error);
    };
    child.on('error', end);
    child.once('exit', onExit);
    channel?.once('data', () => end());
    // A process that dies takes its end of the channel with it; its exit tells more.
    channel?.on('error', () => {});
  });
}

/** Gives the word and lets go: from here on nothing ties the process to this one. */
function go(child: ChildProcess, epochNs: bigint): void {
  const channel = channelOf(child)!;
  channel.end(`go ${epochNs}\n`, () => channel.destroy());
  child.unref();
}

/** Ends processes that never had the word, and waits until they are gone. */
async function abandon(launch: Launch): Promise<void> {
  const limit = AbortSignal.timeout(STOP_WITHIN_MS);
  await Promise.all(
    launch.map(async (child) => {
      channelOf(child)?.destroy();
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit', { signal: limit }).catch(() => undefined);
      child.kill('SIGKILL');
      await exit;
    }),
  );
}
