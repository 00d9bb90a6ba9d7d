import type { Host } from '../../src/host/host.ts';
import type { Store } from '../../src/host/store.ts';
import { linuxCgroups } from './cgroups.ts';
import { linuxClock } from './clock.ts';
import { ProcessContainers } from './containers.ts';
import { makeOwnNamespace, ownNamespaceOf } from './fabric.ts';
import { linuxFirewall } from './firewall.ts';
import { Ledger } from './ledger.ts';
import { linuxLinks } from './links.ts';
import { linuxMachine } from './machine.ts';
import { linuxNamespaces } from './namespaces.ts';
import { NetworkRoot } from './netns.ts';
import { linuxProbes } from './probes.ts';
import { lockRoot } from './root-lock.ts';
import { linuxRouting } from './routing.ts';
import { foldersOf, makeFolders, removeRun } from './runs.ts';
import { linuxShaper } from './shaper.ts';
import { LinuxSupervision } from './supervision.ts';
import { linuxVirtualFunctions } from './virtual-functions.ts';

/** What a real host is made of. */
export interface LinuxHostOptions {
  readonly name: string;
  /** The mark of the run, and the name of its folder in every cgroup hierarchy: see `runMark`. */
  readonly root: string;
  /** The programs it starts. */
  readonly entries: { readonly workload: string; readonly supervisor: string; readonly stream: string };
  readonly store: Store;
  /** In place of the mounts that /proc/self/mountinfo names. */
  readonly cgroupMount?: string;
  /**
   * Which network namespace is the host's own: one that is made for it (`own`, unless set), or the machine's, where its
   * cards are. At the end of the second that alone is removed there which this process made.
   */
  readonly network?: 'own' | 'machine';
}

/** A real machine, or the part of it under one cgroup root. */
export interface LinuxHost extends Host {
  readonly cgroupVersion: 1 | 2;
  /** Ends everything it made and removes every trace. */
  close(): Promise<void>;
  /** Lets go and leaves everything alive, as a crash does. Opening the same root again finds it. */
  detach(): void;
}

/**
 * Opens a host, making its root where it is not there yet.
 * @throws HostError EOPNOTSUPP, EACCES or EPERM, with what to do; EBUSY where a living process has it open
 */
export async function openLinuxHost(options: LinuxHostOptions): Promise<LinuxHost> {
  const lock = await lockRoot(options.root);
  try {
    return openParts(options, () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

function openParts(options: LinuxHostOptions, release: () => void): LinuxHost {
  const { name, root, entries, store, cgroupMount, network = 'own' } = options;
  const place = { root, ...(cgroupMount === undefined ? {} : { cgroupMount }) };
  const folders = foldersOf(root);
  const cgroups = linuxCgroups(place);
  makeFolders(folders);
  cgroups.makeRoot();
  if (network === 'own') makeOwnNamespace(root);
  const networkRoot = new NetworkRoot({ mark: root, own: network === 'own' ? ownNamespaceOf(root) : null });
  const tables = {
    links: linuxLinks(networkRoot),
    routing: linuxRouting(networkRoot),
    firewall: linuxFirewall(networkRoot),
    shaper: linuxShaper(networkRoot),
  };
  const ledger = network === 'machine' ? new Ledger(tables) : null;
  const { links, routing, firewall, shaper } = ledger ?? tables;
  const probes = linuxProbes(networkRoot, name, entries.stream);
  const supervision = new LinuxSupervision(folders.supervisors, entries.supervisor, place, cgroups);
  return {
    name,
    cgroupVersion: cgroups.version,
    clock: linuxClock,
    machine: linuxMachine(cgroupMount, networkRoot),
    cgroups,
    containers: new ProcessContainers(cgroups, {
      entry: entries.workload,
      place,
      sharedFolder: folders.shared,
      cacheFolder: folders.cache,
      network: networkRoot,
    }),
    supervision,
    namespaces: linuxNamespaces(networkRoot),
    links,
    virtualFunctions: linuxVirtualFunctions(networkRoot),
    routing,
    firewall,
    shaper,
    probes,
    store,
    async close() {
      probes.close();
      try {
        await supervision.close();
        await ledger?.clear();
        await removeRun(cgroups, folders);
      } finally {
        release();
      }
    },
    detach() {
      // Nothing else is held: processes were let go when they began, and files are opened when they are needed.
      probes.close();
      release();
    },
  };
}
