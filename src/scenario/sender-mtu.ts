import type { Addressing } from './addressing.ts';
import type { Sender } from './reach.ts';
import type { Bystander } from './run.ts';
import type { Scenario } from './scenario.ts';

/** Headers of IPv4 without options (RFC 791) and UDP (RFC 768). */
export const HEADER_BYTES = 28;

/** Of the link by which the sender would reach that network: its own interface there, else its way out, else its first. */
export async function mtuOf(
  { host, namespace }: Sender,
  network: string | undefined,
  { hosts }: Pick<Scenario, 'hosts'>,
  { bystander, addressing }: { readonly bystander: (host: string) => Bystander; readonly addressing: Addressing },
): Promise<number> {
  const { links, routing } = bystander(host);
  const index = addressing.placesOf(namespace).findIndex((each) => each.network === network);
  const all = (await links.list([namespace])).filter(({ type }) => type !== 'loopback');
  const wayOut = (await routing.list([namespace])).find((each) => each.kind === 'route' && each.to === '0.0.0.0/0');
  const uplink = hosts.find(({ name }) => name === host)?.uplink?.link;
  const wanted = index >= 0 ? `eth${index}` : namespace === '' ? uplink : wayOut?.kind === 'route' ? wayOut.link : null;
  return (all.find(({ name }) => name === wanted) ?? all[0])?.mtu ?? 0;
}
