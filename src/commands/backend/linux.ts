import { mkdirSync, rmSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linuxCgroups } from '../../../backends/linux/cgroups.ts';
import { linuxClock } from '../../../backends/linux/clock.ts';
import { type LinuxHost, openLinuxHost } from '../../../backends/linux/host.ts';
import { runFolderOf, runMark } from '../../../backends/linux/owner.ts';
import { foldersOf, removeRun, sweepDeadRuns } from '../../../backends/linux/runs.ts';
import { openSqliteStore, type SqliteStore } from '../../../backends/store/sqlite.ts';
import { Engine } from '../../engine/engine.ts';
import { HostError } from '../../host/errors.ts';
import type { Scenario, ScenarioHost } from '../../scenario/scenario.ts';
import type { FindPolicy, OpenBackend } from './backend.ts';
import { severable, type SeverableHost } from './severable.ts';

const entry = (name: string): string =>
  fileURLToPath(new URL(`../../processes/${name}${extname(import.meta.url)}`, import.meta.url));

/** The programs a real host starts, TypeScript or JavaScript as this is. */
export const ENTRIES = { workload: entry('workload'), supervisor: entry('memory-supervisor') };

/** Runs a scenario on this machine, each of its hosts under a cgroup root of its own. What dead runs left goes first. @throws HostError */
export async function openLinux(scenario: Scenario, policies: FindPolicy): Promise<OpenBackend> {
  requireRoot();
  if (scenario.faults.length > 0)
    throw new HostError('EOPNOTSUPP', 'run', scenario.file, {
      detail: 'it has faults, which only a simulated host can have: run it with --backend sim',
    });
  await sweepDeadRuns();
  const open = new Map<string, OpenHost>();
  const close = async (): Promise<void> => {
    const ends = await Promise.allSettled([...open.values()].map((host) => host.close()));
    const failed = ends.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  };
  try {
    for (const host of scenario.hosts) open.set(host.name, await OpenHost.open(host));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    backend: {
      name: 'linux',
      clock: linuxClock,
      connect: (name) => open.get(name)!.connect(),
      crash: async (name) => open.get(name)!.crash(),
      drive: (work) => work(),
    },
    engineFor: (host, { sink, zeroMs }) => new Engine(host, { policies, sink, zeroMs }),
    close,
  };
}

function requireRoot(): void {
  if (process.platform !== 'linux')
    throw new HostError('EOPNOTSUPP', 'run', process.platform, {
      detail: 'real cgroups need Linux: run it with --backend sim',
    });
  if (process.geteuid?.() !== 0)
    throw new HostError('EPERM', 'run', `as user ${process.geteuid?.()}`, {
      detail: 'making cgroups takes root: run it with sudo, or with --backend sim',
    });
}

/** One host of a run, and the handle that its engine of the moment has. */
class OpenHost {
  readonly #root: string;
  readonly #name: string;
  #host: LinuxHost;
  #store: SqliteStore;
  #handle: SeverableHost | undefined;

  private constructor(name: string, root: string, parts: { host: LinuxHost; store: SqliteStore }) {
    this.#name = name;
    this.#root = root;
    this.#host = parts.host;
    this.#store = parts.store;
  }

  static async open({ name, cgroupVersion }: ScenarioHost): Promise<OpenHost> {
    const root = runMark(name);
    const parts = await openParts(name, root).catch(async (error: unknown) => {
      await removeBegun(root);
      throw error;
    });
    const open = new OpenHost(name, root, parts);
    if (cgroupVersion !== undefined && cgroupVersion !== parts.host.cgroupVersion) {
      await open.close();
      throw new HostError('EOPNOTSUPP', 'run', name, {
        detail: `the scenario asks for cgroup version ${cgroupVersion}, and this machine has version ${parts.host.cgroupVersion}: run it with --backend sim`,
      });
    }
    return open;
  }

  /** The first time what was opened; after a crash it is opened anew, and must find everything by itself. */
  async connect(): Promise<SeverableHost['host']> {
    if (this.#handle !== undefined) {
      this.#host.detach();
      this.#store.close();
      ({ host: this.#host, store: this.#store } = await openParts(this.#name, this.#root));
    }
    this.#handle = severable(this.#host);
    return this.#handle.host;
  }

  crash(): void {
    this.#handle?.sever();
  }

  async close(): Promise<void> {
    this.#handle?.sever();
    try {
      this.#store.close();
    } finally {
      await this.#host.close();
    }
  }
}

async function openParts(name: string, root: string): Promise<{ host: LinuxHost; store: SqliteStore }> {
  const folder = runFolderOf(root);
  mkdirSync(folder, { recursive: true });
  const store = openSqliteStore(join(folder, 'store.sqlite'));
  try {
    return { host: await openLinuxHost({ name, root, entries: ENTRIES, store }), store };
  } catch (error) {
    store.close();
    throw error;
  }
}

/** What a host had made before its opening failed; why it failed is what is told. */
async function removeBegun(root: string): Promise<void> {
  try {
    await removeRun(linuxCgroups({ root }), foldersOf(root));
  } catch {
    rmSync(runFolderOf(root), { recursive: true, force: true });
  }
}
