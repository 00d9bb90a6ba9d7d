import { mkdirSync, rmSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linuxCgroups } from '../../../backends/linux/cgroups.ts';
import { linuxClock } from '../../../backends/linux/clock.ts';
import { makeFabric } from '../../../backends/linux/fabric.ts';
import { type LinuxHost, openLinuxHost } from '../../../backends/linux/host.ts';
import { runFolderOf, runMark } from '../../../backends/linux/owner.ts';
import { foldersOf, removeRun, sweepDeadRuns } from '../../../backends/linux/runs.ts';
import { openSqliteStore, type SqliteStore } from '../../../backends/store/sqlite.ts';
import { Engine } from '../../engine/engine.ts';
import { HostError } from '../../host/errors.ts';
import type { Bystander } from '../../scenario/run.ts';
import type { Scenario, ScenarioHost } from '../../scenario/scenario.ts';
import type { FindPolicy, OpenBackend } from './backend.ts';
import { besideEngine, checkCards, type Network } from './linux-beside.ts';
import { severable, type SeverableHost } from './severable.ts';

const entry = (name: string): string =>
  fileURLToPath(new URL(`../../processes/${name}${extname(import.meta.url)}`, import.meta.url));

/** The programs a real host starts, TypeScript or JavaScript as this is. */
export const ENTRIES = {
  workload: entry('workload'),
  supervisor: entry('memory-supervisor'),
  stream: entry('stream'),
};

/**
 * Runs a scenario on this machine, each of its hosts under a cgroup root and in a network namespace of its own. What dead
 * runs left goes first. @throws HostError
 */
export async function openLinux(scenario: Scenario, policies: FindPolicy): Promise<OpenBackend> {
  requireRoot();
  if (scenario.faults.length > 0)
    throw new HostError('EOPNOTSUPP', 'run', scenario.file, {
      detail: 'it has faults, which only a simulated host can have: run it with --backend sim',
    });
  const onMachine = scenario.hosts.some(({ nics }) => nics.length > 0);
  if (onMachine && scenario.hosts.length > 1)
    throw new HostError('EOPNOTSUPP', 'run', scenario.file, {
      detail:
        'a host with network cards is this machine itself, and the others have no wire to it: run it with --backend sim',
    });
  await sweepDeadRuns();
  const open = new Map<string, OpenHost>();
  const close = async (): Promise<void> => {
    // The store of all is in the folder of one.
    for (const host of open.values()) host.letGo();
    const ends = await Promise.allSettled([...open.values()].map((host) => host.close()));
    const failed = ends.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  };
  try {
    const storeFile = join(runFolderOf(runMark(scenario.hosts[0]!.name)), 'store.sqlite');
    for (const host of scenario.hosts) open.set(host.name, await OpenHost.open(host, storeFile));
    await joinHosts(scenario.hosts.filter(({ nics }) => nics.length === 0));
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
      bystander: (name) => open.get(name)!.bystander,
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

/** The wire between hosts that are on one machine; where the scenario has no networks, each is alone. */
async function joinHosts(hosts: readonly ScenarioHost[]): Promise<void> {
  const joined = hosts.flatMap(({ name, uplink }) =>
    uplink === undefined ? [] : [{ mark: runMark(name), ...uplink }],
  );
  if (joined.length > 0) await makeFabric(joined[0]!.mark, joined);
}

/** One host of a run, and the handle that its engine of the moment has. */
class OpenHost {
  readonly bystander: Bystander;
  readonly #clearByHand: () => Promise<void>;
  readonly #root: string;
  readonly #name: string;
  readonly #network: Network;
  readonly #storeFile: string;
  #host: LinuxHost;
  #store: SqliteStore;
  #handle: SeverableHost | undefined;

  private constructor(
    { name, nics }: ScenarioHost,
    root: string,
    storeFile: string,
    parts: { host: LinuxHost; store: SqliteStore },
  ) {
    this.#network = networkOf(nics);
    const beside = besideEngine(name, root, {
      streamEntry: ENTRIES.stream,
      network: this.#network,
      store: () => this.#store,
    });
    this.bystander = beside.bystander;
    this.#clearByHand = beside.clear;
    this.#name = name;
    this.#root = root;
    this.#storeFile = storeFile;
    this.#host = parts.host;
    this.#store = parts.store;
  }

  static async open(host: ScenarioHost, storeFile: string): Promise<OpenHost> {
    const { name, cgroupVersion, nics } = host;
    const root = runMark(name);
    const parts = await openParts(name, root, storeFile, networkOf(nics)).catch(async (error: unknown) => {
      await removeBegun(root);
      throw error;
    });
    const open = new OpenHost(host, root, storeFile, parts);
    try {
      await checkCards(host, parts.host);
    } catch (error) {
      open.letGo();
      await open.close();
      throw error;
    }
    if (cgroupVersion !== undefined && cgroupVersion !== parts.host.cgroupVersion) {
      open.letGo();
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
      ({ host: this.#host, store: this.#store } = await openParts(
        this.#name,
        this.#root,
        this.#storeFile,
        this.#network,
      ));
    }
    this.#handle = severable(this.#host);
    return this.#handle.host;
  }

  crash(): void {
    this.#handle?.sever();
  }

  /** From here on its engine can do nothing any more. */
  letGo(): void {
    this.#handle?.sever();
    this.#store.close();
  }

  async close(): Promise<void> {
    await this.#clearByHand();
    await this.#host.close();
  }
}

/** Cards are the machine's: a host with some is the machine itself. */
const networkOf = (nics: ScenarioHost['nics']): Network => (nics.length > 0 ? 'machine' : 'own');

async function openParts(
  name: string,
  root: string,
  storeFile: string,
  network: Network,
): Promise<{ host: LinuxHost; store: SqliteStore }> {
  mkdirSync(dirname(storeFile), { recursive: true });
  const store = openSqliteStore(storeFile);
  try {
    return { host: await openLinuxHost({ name, root, entries: ENTRIES, store, network }), store };
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
