import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { errnoOf, isAbsent, Refusal } from './errors.ts';
import { MS_BIND, MS_REC, MS_SHARED, mount, newNetworkNamespace, setNetworkNamespace, unmount } from './syscalls.ts';

/** Where iproute2 keeps namespaces by name (ip-netns(8)): what is there is seen by `ip -n` and `ip netns exec`. */
export const NETNS_FOLDER = '/run/netns';

/** statfs(2): a file of a namespace. */
const NSFS_MAGIC = 0x6e_73_66_73;

/** Of the thread, not of the process: only the calling thread is ever moved. */
const OWN = '/proc/thread-self/ns/net';

/** A namespace's name: a scenario's word for a container or network, or one of Plimsoll's own, which begins with a dot. */
const NAME = /^\.?[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?$/i;

/** Where the calling thread is now; opened when it is first moved. */
let here: number | undefined;

/**
 * Runs `work` with the calling thread inside this namespace, and comes back. `work` must be synchronous: sockets that it
 * opens, processes that it starts and what it reads under /proc/sys/net are of that namespace; sockets stay so.
 * @throws Refusal ENODEV where no namespace is there
 */
export function withinFile<T>(path: string, work: () => T): T {
  const fd = openNamespace(path);
  try {
    return withinFd(fd, work);
  } finally {
    closeSync(fd);
  }
}

/** As `withinFile`, of an open one. */
function withinFd<T>(fd: number, work: () => T): T {
  const before = (here ??= openSync(OWN, 'r'));
  setNetworkNamespace(fd);
  here = fd;
  try {
    return work();
  } finally {
    here = before;
    comeBack(before);
  }
}

/** Whoever is in the wrong namespace and does not know it must not go on. */
function comeBack(fd: number): void {
  try {
    setNetworkNamespace(fd);
  } catch (error) {
    writeSync(2, `cannot leave a network namespace, and must not go on in it: ${String(error)}\n`);
    process.kill(process.pid, 'SIGKILL');
  }
}

/** @throws Refusal ENODEV where none is there */
export function openNamespace(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw noNamespace(path, error);
    throw error;
  }
  if (isNamespace(path)) return fd;
  closeSync(fd);
  throw noNamespace(path, undefined);
}

const noNamespace = (path: string, cause: unknown): Refusal =>
  new Refusal('ENODEV', `there is no network namespace ${path}`, cause);

/** A file that a crash left before anything was mounted on it is none. */
export function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** Makes a bare namespace, as `ip netns add` does, and sets it up from inside. One that is there is left as it is. */
export function makeNamespace(path: string, setUp: () => void): void {
  if (isNamespace(path)) return;
  shareFolder();
  const before = (here ??= openSync(OWN, 'r'));
  newNetworkNamespace();
  let isMounted = false;
  try {
    setUp();
    writeFileSync(path, '', { mode: 0o444 });
    mount(OWN, path, MS_BIND);
    isMounted = true;
  } finally {
    comeBack(before);
    if (!isMounted) rmSync(path, { force: true });
  }
}

/** Takes its name away; it ends with the last process and socket in it. One that is gone already is no error. */
export function dropNamespace(path: string): void {
  try {
    unmount(path);
  } catch (error) {
    // EINVAL: nothing is mounted there.
    const code = errnoOf(error);
    if (code !== 'EINVAL' && code !== 'ENOENT') throw error;
  }
  rmSync(path, { force: true });
}

/** Mounts in this folder must be seen by whoever has a mount namespace of its own, and unmounted there too (ip-netns(8)). */
function shareFolder(): void {
  mkdirSync(NETNS_FOLDER, { recursive: true, mode: 0o755 });
  try {
    mount('', NETNS_FOLDER, MS_SHARED | MS_REC);
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
    // It is no mount of its own yet.
    mount(NETNS_FOLDER, NETNS_FOLDER, MS_BIND | MS_REC);
    mount('', NETNS_FOLDER, MS_SHARED | MS_REC);
  }
}

/** The names in the folder, in order. */
export function namespaceFiles(): string[] {
  try {
    return readdirSync(NETNS_FOLDER).sort();
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** Which namespaces are one host's, and where. */
export class NetworkRoot {
  readonly mark: string;
  readonly #own: string | null;

  /** @param own the file of the host's own namespace; null: that of this process */
  constructor({ mark, own }: { readonly mark: string; readonly own: string | null }) {
    this.mark = mark;
    this.#own = own;
  }

  /** The file of a namespace. @throws Refusal EINVAL for a name that cannot be one */
  pathOf(namespace: NamespaceName): string {
    if (namespace === '') return this.#own ?? OWN;
    if (namespace.startsWith('/')) return namespace;
    if (!isName(namespace))
      throw new Refusal('EINVAL', 'a network namespace is named with letters, digits, "-", "_" and "."', undefined);
    return join(NETNS_FOLDER, `${this.mark}+${namespace}`);
  }

  /** Runs synchronous work inside a namespace, see `withinFile`. The machine's own needs no going there. */
  within<T>(namespace: NamespaceName, work: () => T): T {
    if (namespace === '' && this.#own === null) return work();
    return withinFile(this.pathOf(namespace), work);
  }

  /** The namespaces that Plimsoll made on this host, in order. */
  names(): NamespaceName[] {
    const prefix = `${this.mark}+`;
    return namespaceFiles()
      .filter(
        (file) => file.startsWith(prefix) && isName(file.slice(prefix.length)) && isNamespace(join(NETNS_FOLDER, file)),
      )
      .map((file) => file.slice(prefix.length))
      .filter((name) => !name.startsWith('.'))
      .sort();
  }
}

/** Can a namespace be called so? */
export const isName = (name: string): boolean => NAME.test(name);
