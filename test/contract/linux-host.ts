import { fileURLToPath } from 'node:url';
import { type LinuxHost, openLinuxHost } from '../../backends/linux/host.ts';
import { runMark } from '../../backends/linux/owner.ts';
import type { Store } from '../../src/host/store.ts';

/** The programs of a real host. */
export const entries = {
  workload: fileURLToPath(new URL('../../src/processes/workload.ts', import.meta.url)),
  supervisor: fileURLToPath(new URL('../../src/processes/memory-supervisor.ts', import.meta.url)),
};

/** Stands where a body uses no store: whoever does use it is told so. */
export const noStore: Store = {
  read: () => Promise.reject(new Error('this host was opened without a store')),
  commit: () => Promise.reject(new Error('this host was opened without a store')),
};

/** A host of this process, with a mark of its own. */
export const openTestHost = (name: string): Promise<LinuxHost> =>
  openLinuxHost({ name, root: runMark(name), entries, store: noStore });
