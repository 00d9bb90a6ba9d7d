import { HostError, type Errno } from '../../src/host/errors.ts';
import { AddressError } from '../../src/host/ipv4.ts';
import type { Announcement } from '../../src/host/routing.ts';
import { announce } from './arp.ts';
import { createJourney } from './walk.ts';
import { addressOf, type HostNetwork } from './network.ts';

/** Sends a gratuitous ARP by the link named. @throws HostError */
export function announceFrom(host: HostNetwork, { namespace, link: name, address }: Announcement): void {
  const target = `${address} dev ${namespace === '' ? '' : `${namespace}: `}${name}`;
  const refuse = (code: Errno, cause?: AddressError): never => {
    throw new HostError(code, 'routing.announce', target, cause && { detail: cause.message, cause });
  };
  const link = host.spaces.get(namespace)?.links.get(name) ?? refuse('ENODEV');
  if (!link.up) refuse('ENETDOWN');
  try {
    announce(createJourney(host.network), link, addressOf(address));
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    refuse('EINVAL', error);
  }
}
