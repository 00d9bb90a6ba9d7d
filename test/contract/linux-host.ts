import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LinuxHost, openLinuxHost } from '../../backends/linux/host.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { noStore } from '../../src/commands/no-store.ts';

/** The programs of a real host, TypeScript or JavaScript as this is. */
export const entries = {
  workload: fileURLToPath(new URL(`../../src/processes/workload${extname(import.meta.url)}`, import.meta.url)),
  supervisor: fileURLToPath(
    new URL(`../../src/processes/memory-supervisor${extname(import.meta.url)}`, import.meta.url),
  ),
  stream: fileURLToPath(new URL(`../../src/processes/stream${extname(import.meta.url)}`, import.meta.url)),
};

/** A host of this process, with a mark of its own. */
export const openTestHost = (name: string, network: 'own' | 'machine' = 'own'): Promise<LinuxHost> =>
  openLinuxHost({ name, root: runMark(name), entries, store: noStore, network });
