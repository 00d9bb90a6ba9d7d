// What tests of the packet bench run in: containers whose own veths end at a sink.
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from '../../backends/linux/fabric.ts';
import { linuxLinks } from '../../backends/linux/links.ts';
import { linuxNamespaces } from '../../backends/linux/namespaces.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { linuxRouting } from '../../backends/linux/routing.ts';
import type { FloodPlace } from '../../bench/nic/generator.ts';
import type { PathContainer } from '../../bench/nic/picture.ts';
import { openSink, type Sink } from '../../bench/nic/sink.ts';
import type { Applied } from '../../src/host/batch.ts';

const SINK = 'sink';

export interface PacketWires {
  readonly root: NetworkRoot;
  readonly containers: readonly PathContainer[];
  /** The file of the namespace where all wires end. */
  readonly sinkFile: string;
  /** Of a container in the sink's namespace. */
  readonly farLink: (index: number) => string;
  close(): Promise<void>;
}

/** So many containers, each with a wire to the namespace of the sink. */
export async function layWires(name: string, count: number): Promise<PacketWires> {
  const mark = runMark(name);
  const root = new NetworkRoot({ mark, own: ownNamespaceOf(mark) });
  const close = (): Promise<void> => removeNetwork(mark);
  const farLink = (index: number): string => `d${index}`;
  try {
    makeOwnNamespace(mark);
    const indices = Array.from({ length: count }, (_, index) => index);
    insist(await linuxNamespaces(root).create([SINK, ...indices.map((index) => `c${index}`)]));
    const ends = indices.flatMap((index) => [
      { namespace: `c${index}`, name: 'eth0', prefix: `198.19.${index}.2/30` },
      { namespace: SINK, name: farLink(index), prefix: `198.19.${index}.1/30` },
    ]);
    const links = linuxLinks(root);
    insist(
      await links.create(
        indices.map((index) => ({
          namespace: `c${index}`,
          name: 'eth0',
          alias: '',
          kind: { type: 'veth', peer: { namespace: SINK, name: farLink(index), alias: '' } } as const,
        })),
      ),
    );
    insist(await links.set(ends.map(({ namespace, name }) => ({ namespace, name, set: { up: true } }))));
    insist(
      await linuxRouting(root).add(
        ends.map(({ namespace, name, prefix }) => ({ kind: 'address', namespace, link: name, prefix }) as const),
      ),
    );
    const containers = indices.map((index) => ({ namespace: `c${index}`, target: `198.19.${index}.1` }));
    return { root, containers, sinkFile: root.pathOf(SINK), farLink, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The same with a sink at the end. */
export async function withPlace(
  name: string,
  count: number,
  test: (place: FloodPlace & PacketWires & { readonly sink: Sink }) => Promise<void>,
): Promise<void> {
  const wires = await layWires(name, count);
  try {
    const sink = await openSink(wires.root, SINK);
    try {
      await test({ ...wires, sink });
    } finally {
      await sink.close();
    }
  } finally {
    await wires.close();
  }
}

function insist({ error }: Applied): void {
  if (error !== undefined) throw error;
}
