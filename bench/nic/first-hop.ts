import * as z from 'zod';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runTool } from '../../backends/linux/tool.ts';
import type { Ipv4Address, MacAddress } from '../../src/host/ipv4.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import type { FloodPlace } from './generator.ts';
import type { PathContainer } from './picture.ts';

const Routes = z.tuple([z.object({ dev: z.string(), gateway: z.string().optional(), prefsrc: z.string() })]);
const Neighbours = z.array(z.object({ lladdr: z.string().optional() }));

/** By which link a container's packets leave it, and from which address. */
export interface FirstHop {
  readonly link: string;
  readonly source: Ipv4Address;
  /** Whose MAC address they go to: the gateway, or the target itself. */
  readonly next: Ipv4Address;
}

/** @throws Error where there is no way to its target */
export async function firstHop({ root }: Pick<FloodPlace, 'root'>, container: PathContainer): Promise<FirstHop> {
  const { dev, gateway, prefsrc } = Routes.parse(await ask(root, container, ['route', 'get', container.target]))[0];
  return { link: dev, source: prefsrc, next: gateway ?? container.target };
}

const Links = z.tuple([z.object({ address: z.string() })]);

/** A link's own MAC address. */
export const macOfLink = async (
  { root }: Pick<FloodPlace, 'root'>,
  container: PathContainer,
  { link }: FirstHop,
): Promise<MacAddress> => Links.parse(await ask(root, container, ['link', 'show', 'dev', link]))[0].address;

/** The MAC address to which a container's packets go, when some have gone. @throws Error where it is not known */
export async function macOfNext(
  { root }: Pick<FloodPlace, 'root'>,
  container: PathContainer,
  { link, next }: FirstHop,
): Promise<MacAddress> {
  const found = Neighbours.parse(await ask(root, container, ['-4', 'neigh', 'show', 'to', next, 'dev', link]));
  const mac = found.find(({ lladdr }) => lladdr !== undefined)?.lladdr;
  if (mac === undefined) throw new Error(`nobody has told ${container.namespace} the MAC address of ${next}`);
  return mac;
}

/** Where it finds nothing it says nothing. */
const ask = async (root: NetworkRoot, { namespace }: PathContainer, words: readonly string[]): Promise<unknown> =>
  JSON.parse((await toolWithin(root, namespace, 'ip', ['-j', ...words])) || '[]');

/** What a command says in a namespace of the host. @throws Error where it fails */
export async function toolWithin(
  root: NetworkRoot,
  namespace: NamespaceName,
  file: string,
  args: readonly string[],
): Promise<string> {
  const inside = new NetworkRoot({ mark: root.mark, own: root.pathOf(namespace) });
  const { ok, stdout, stderr } = await runTool(inside, file, args);
  if (!ok) throw new Error(`${file} ${args.join(' ')} in ${namespace}: ${stderr.trim()}`);
  return stdout;
}
