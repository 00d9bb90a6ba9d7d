import { HostError, type Errno } from '../../src/host/errors.ts';
import { type LinkMove, whyNoNewName } from '../../src/host/links.ts';
import { moveLink } from './link-life.ts';
import type { HostNetwork } from './network.ts';

/** Takes a link of whatever kind elsewhere. @throws HostError */
export function move(host: HostNetwork, { namespace, name, to }: LinkMove): void {
  const refuse = (code: Errno, detail: string): never => {
    throw new HostError(code, 'links.move', namespace === '' ? name : `${namespace}: ${name}`, { detail });
  };
  const space = host.spaces.get(to.namespace) ?? refuse('ENODEV', `there is no namespace ${to.namespace}`);
  const link = host.spaces.get(namespace)?.links.get(name);
  const there = space.links.get(to.name);
  if (link === undefined) {
    if (there === undefined) refuse('ENODEV', 'no such link, neither here nor there');
    return;
  }
  if (there === link) return;
  if (there !== undefined) refuse('EEXIST', `another link is called ${to.name} there`);
  const why = whyNoNewName(to.name);
  if (why !== null) refuse(why.code, why.detail);
  // netns_immutable (include/linux/netdevice.h).
  if (link.type === 'loopback' || link.type === 'bridge') refuse('EINVAL', 'such a link stays where it was made');
  moveLink(link, space, to.name);
}
