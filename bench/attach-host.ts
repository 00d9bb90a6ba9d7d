import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type LinuxHost, openLinuxHost } from '../backends/linux/host.ts';
import { makeOwnFolder } from '../backends/linux/owner.ts';
import { foldersOf, removeRun } from '../backends/linux/runs.ts';
import { linuxCgroups } from '../backends/linux/cgroups.ts';
import { openSqliteStore, type SqliteStore } from '../backends/store/sqlite.ts';
import { ENTRIES } from '../src/commands/backend/linux.ts';
import { Engine } from '../src/engine/engine.ts';
import type { Observation } from '../src/engine/observation.ts';
import type { NetworkSpec } from '../src/network/desired.ts';
import type { DesiredEndpoint } from '../src/engine/desired.ts';

/** A real host with its engine and a store in a file, as the daemon has them. */
export interface AttachHost {
  readonly host: LinuxHost;
  readonly engine: Engine;
  /** Makes these, in this network, all that is asked of the host. */
  ask(endpoints: readonly DesiredEndpoint[]): Promise<void>;
  close(): Promise<void>;
}

export interface AttachHostOptions {
  readonly name: string;
  readonly root: string;
  readonly network: NetworkSpec;
  readonly storeFile: string;
  readonly sink?: (observation: Observation) => void;
}

/**
 * Where a run keeps its store: the temporary folder is on a disk, so that a commit costs what it costs the daemon; the
 * folder of runs is on a tmpfs on most machines.
 */
export function storeFileOf(root: string): string {
  const { cache } = foldersOf(root);
  makeOwnFolder(cache);
  return join(cache, 'store.sqlite');
}

/** Opens a host in the network namespace that its mark names. */
export async function openAttachHost({
  name,
  root,
  network,
  storeFile,
  sink = () => {},
}: AttachHostOptions): Promise<AttachHost> {
  mkdirSync(foldersOf(root).run, { recursive: true, mode: 0o700 });
  const store = openSqliteStore(storeFile);
  let host: LinuxHost;
  try {
    host = await openLinuxHost({ name, root, entries: ENTRIES, store });
  } catch (error) {
    await discard(store, root);
    throw error;
  }
  const engine = new Engine(host, {
    policies: ({ name: policy }) => {
      throw new RangeError(`nothing here is asked of memory, and yet of the policy ${policy}`);
    },
    sink,
    zeroMs: host.clock.monotonicMs(),
  });
  return {
    host,
    engine,
    ask: (endpoints) => engine.ask({ memory: null, network: { networks: [network] }, endpoints, containers: [] }),
    async close() {
      store.close();
      await host.close();
    },
  };
}

async function discard(store: SqliteStore, root: string): Promise<void> {
  store.close();
  await removeRun(linuxCgroups({ root }), foldersOf(root));
}
