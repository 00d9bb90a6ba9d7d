import type { FabricHost } from '../backends/linux/fabric.ts';
import { makeFabric, ownNamespaceOf, removeNetwork } from '../backends/linux/fabric.ts';
import { linuxNamespaces } from '../backends/linux/namespaces.ts';
import { NetworkRoot } from '../backends/linux/netns.ts';
import { runMark } from '../backends/linux/owner.ts';

/** Hosts of a bench on one machine, each in a network namespace of its own, and what joins them. */
export interface AttachPlace {
  /** The mark of a host's root. */
  rootOf(host: string): string;
  /** The file of a host's own network namespace. */
  namespaceOf(host: string): string;
  /** The underlay address of a host. */
  addressOf(host: string): string;
  /** Makes bare network namespaces, as a container engine does before it asks for networks; returns their files. */
  makeNamespaces(names: readonly string[]): Promise<string[]>;
  close(): Promise<void>;
}

const UPLINK = 'up0';
/** Of RFC 2544, for benchmarks: no network of the machine's is there, and none of it leaves these namespaces. */
const ADDRESS = (host: number): string => `198.18.0.${host + 1}`;

/** Makes the place: all of it carries marks of this run, so that the next one finds what a crash leaves. */
export async function makeAttachPlace(hosts: readonly string[]): Promise<AttachPlace> {
  const mark = runMark('attach');
  const rootOf = (host: string): string => runMark(`attach-${host}`);
  const addressOf = (host: string): string => ADDRESS(hosts.indexOf(host));
  const close = async (): Promise<void> => {
    await removeNetwork(mark);
    for (const host of hosts) await removeNetwork(rootOf(host));
  };
  try {
    await makeFabric(
      mark,
      hosts.map((host): FabricHost => ({
        mark: rootOf(host),
        prefix: `${addressOf(host)}/24`,
        mtu: 1500,
        link: UPLINK,
      })),
    );
  } catch (error) {
    await close();
    throw error;
  }
  const containers = new NetworkRoot({ mark, own: null });
  return {
    rootOf,
    namespaceOf: (host) => ownNamespaceOf(rootOf(host)),
    addressOf,
    async makeNamespaces(names) {
      const { error } = await linuxNamespaces(containers).create(names);
      if (error !== undefined) throw error;
      return names.map((name) => containers.pathOf(name));
    },
    close,
  };
}
