import type { Host } from '../src/host/host.ts';
import { endpointAlias, portName } from '../src/network/names.ts';
import type { PlacedContainer } from '../src/network/resolve.ts';

/** A published port, and the namespace that it leads to. */
export interface Published {
  /** The file of the namespace that asks: somebody outside. */
  readonly from: string;
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly namespace: string;
  readonly containerPort: number;
}

/** Is what is published answered by whom it leads to? In the order given. */
export async function areAnswered(host: Host, published: readonly Published[]): Promise<boolean[]> {
  const answering = await host.probes.answer(
    published.map(({ namespace, containerPort }) => ({ namespace, port: containerPort })),
  );
  try {
    const results = await host.probes.send(
      published.map(({ from, hostAddress, hostPort }) => ({ from, to: hostAddress, protocol: 'udp', port: hostPort })),
    );
    return results.map(({ answeredBy }, index) => answeredBy === `${host.name}/${published[index]!.namespace}`);
  } finally {
    await answering.close();
  }
}

/** @throws Error unless every port answers, or none, as `wanted` */
export async function insistAnswered(
  what: string,
  host: Host,
  published: readonly Published[],
  wanted: boolean,
): Promise<void> {
  const wrong = (await areAnswered(host, published)).indexOf(!wanted);
  if (wrong < 0) return;
  const { hostAddress, hostPort, namespace } = published[wrong]!;
  throw new Error(
    `${what}: port ${hostPort} of ${hostAddress} is ${wanted ? 'not ' : 'still '}answered by ${namespace}: there is nothing to measure`,
  );
}

/** @throws Error where anything of a container that was taken away is left: a link, an address, an element, a lease */
export async function insistGone(host: Host, network: string, container: PlacedContainer): Promise<void> {
  const { name, namespace = name } = container;
  const port = portName(network, name);
  const alias = endpointAlias(network, name);
  const links = await host.links.list(['', namespace]);
  const entries = await host.routing.list([namespace]);
  const { elements } = await host.firewall.read();
  const leases = await host.store.read('leases/');
  const left = [
    ...links.filter((link) => link.alias === alias || link.name === port).map((link) => `link ${link.name}`),
    ...entries.map(({ kind }) => `${kind} in its namespace`),
    ...elements.filter(({ key }) => key.split(' . ').includes(port)).map(({ set, key }) => `${set} ${key}`),
    ...leases
      .filter(({ value }) => (JSON.parse(value) as { container: string }).container === name)
      .map(({ key }) => key),
  ];
  if (left.length > 0) throw new Error(`${name} was taken away, and left behind: ${left.join(', ')}`);
}
