import { whyNoNewName } from '../../src/host/links.ts';
import { errnoOf, isAbsent, Refusal } from './errors.ts';
import { getLink, type LinkRecord } from './link-message.ts';
import type { Netlink } from './netlink.ts';

/** @throws Refusal ERANGE, EINVAL: what no new link can be called */
export function checkName(name: string): void {
  const why = whyNoNewName(name);
  if (why !== null) throw new Refusal(why.code, why.detail, undefined);
}

/** One link, or none. */
export function getIfThere(netlink: Netlink, name: string): LinkRecord[] {
  try {
    return [getLink(netlink, name)];
  } catch (error) {
    // No link can have a name that is too long.
    if (isAbsent(error) || errnoOf(error) === 'ERANGE') return [];
    throw error;
  }
}
