import { join } from 'node:path';
import type { Ipv4Prefix } from '../../src/host/ipv4.ts';
import type { Applied } from '../../src/host/batch.ts';
import { hostError } from './errors.ts';
import { linuxLinks } from './links.ts';
import { removeLinksOf, setUpNamespace } from './namespaces.ts';
import { dropNamespace, isNamespace, makeNamespace, namespaceFiles, NETNS_FOLDER, NetworkRoot } from './netns.ts';
import { linuxRouting } from './routing.ts';

/** The namespace between the hosts of a run. */
const FABRIC = '.fabric';
const BRIDGE = 'fabric';

/** A host's own link into the fabric. */
export interface FabricHost {
  /** The mark of its root, by which its own namespace is called. */
  readonly mark: string;
  readonly prefix: Ipv4Prefix;
  readonly mtu: number;
  readonly link: string;
}

/** The file of the namespace that is a host's own, by the mark of its root. */
export const ownNamespaceOf = (mark: string): string => join(NETNS_FOLDER, mark);

/** Makes a host's own namespace, bare with `lo` up; one that is there is left as it is. @throws HostError */
export function makeOwnNamespace(mark: string): void {
  try {
    makeNamespace(ownNamespaceOf(mark), setUpNamespace);
  } catch (error) {
    throw hostError('namespaces.create', ownNamespaceOf(mark), error);
  }
}

/**
 * Joins the hosts of a run that are on one machine: a namespace with a bridge, and in each host's own namespace an
 * uplink to it with an address. It goes with `removeNetwork(mark)`. @throws HostError
 */
export async function makeFabric(mark: string, hosts: readonly FabricHost[]): Promise<void> {
  const fabric = fabricOf(mark);
  try {
    makeNamespace(fabric.pathOf(FABRIC), setUpNamespace);
  } catch (error) {
    throw hostError('namespaces.create', fabric.pathOf(FABRIC), error);
  }
  const links = linuxLinks(fabric);
  insist(await links.create([{ namespace: FABRIC, name: BRIDGE, alias: mark, kind: { type: 'bridge' } }]));
  insist(await links.set([{ namespace: FABRIC, name: BRIDGE, set: { up: true } }]));
  const routing = linuxRouting(fabric);
  for (const [index, host] of hosts.entries()) {
    makeOwnNamespace(host.mark);
    const own = { namespace: ownNamespaceOf(host.mark), name: host.link };
    const port = { namespace: FABRIC, name: `port${index}` };
    const kind = { type: 'veth', peer: { ...own, alias: mark, mtu: host.mtu } } as const;
    insist(await links.create([{ ...port, alias: mark, mtu: host.mtu, kind }]));
    insist(
      await links.set([
        { ...port, set: { master: BRIDGE, up: true } },
        { ...own, set: { up: true } },
      ]),
    );
    insist(await routing.add([{ kind: 'address', namespace: own.namespace, link: own.name, prefix: host.prefix }]));
  }
}

/** The fabric has no namespace of the machine's in it: it is all of its own. */
const fabricOf = (mark: string): NetworkRoot => new NetworkRoot({ mark, own: join(NETNS_FOLDER, `${mark}+${FABRIC}`) });

function insist({ error }: Applied): void {
  if (error !== undefined) throw error;
}

/** Removes all namespaces of a mark, and the links in them. One that is gone already is no error. */
export async function removeNetwork(mark: string): Promise<void> {
  const files = namespaceFiles()
    .filter((file) => file === mark || file.startsWith(`${mark}+`))
    .map((file) => join(NETNS_FOLDER, file));
  if (files.length === 0) return;
  try {
    // Seen from the host's own, the links of all its containers go at once; without one, it was that of the machine.
    const made = files.filter(isNamespace);
    const own = made.find((file) => file === ownNamespaceOf(mark)) ?? null;
    const names = made.map((file) => (file === own ? '' : file));
    await removeLinksOf(new NetworkRoot({ mark, own }), names);
    for (const file of files) dropNamespace(file);
  } catch (error) {
    throw hostError('namespaces.remove', mark, error);
  }
}

/** The marks of those to whom namespaces belong. */
export const networkMarks = (): string[] => [...new Set(namespaceFiles().map((file) => file.split('+')[0]!))];
