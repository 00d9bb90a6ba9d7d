import type { Ipv4Address } from '../../src/host/ipv4.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { addressOf, type Network, type Space } from './network.ts';
import { ICMP } from './packet.ts';
import { type Question, Walk } from './walk.ts';

/**
 * So many are asked by all before the next are: what is known of them stays in the processor's cache. A million questions
 * took 8.5 s of CPU asked row by row, and 5 s in stripes of 8 to 64 (measured).
 */
const STRIPE = 32;

/** Somebody who asks, and is asked at an address. */
export interface End {
  readonly host: string;
  readonly namespace: NamespaceName;
  readonly address: Ipv4Address;
}

/** In place of an end: nobody answered; somebody did who is none of the ends. */
export const NOBODY = -1;
const SOMEBODY_ELSE = -2;

/**
 * Who answers whom: at [from * ends + to], the end that answered when `from` sent an ICMP echo to the address of `to` (of
 * several ends in one namespace the first), or NOBODY, or SOMEBODY_ELSE. @throws RangeError where there is no such namespace
 */
export function reachability(network: Network, ends: readonly End[], payloadBytes = 64): Int32Array {
  const spaces = ends.map(({ host, namespace }) => {
    const space = network.hosts.get(host)?.spaces.get(namespace);
    if (space === undefined) throw new RangeError(`there is no namespace ${host}/${namespace}`);
    return space;
  });
  const addresses = ends.map(({ address }) => addressOf(address));
  const numbers = new Map<Space, number>();
  for (const [index, space] of spaces.entries()) if (!numbers.has(space)) numbers.set(space, index);
  const walk = new Walk(network);
  const answered = new Int32Array(ends.length * ends.length);
  if (ends.length === 0) return answered;
  // One object for all questions.
  const asked: { -readonly [K in keyof Question]: Question[K] } = {
    from: spaces[0]!,
    to: 0,
    protocol: ICMP,
    port: 0,
    payloadBytes,
    forgedSource: 0,
  };
  for (let first = 0; first < ends.length; first += STRIPE)
    for (let from = 0; from < ends.length; from++) {
      asked.from = spaces[from]!;
      for (let to = first; to < Math.min(first + STRIPE, ends.length); to++) {
        asked.to = addresses[to]!;
        walk.ask(asked, false);
        const { answeredBy } = walk;
        answered[from * ends.length + to] = answeredBy === null ? NOBODY : (numbers.get(answeredBy) ?? SOMEBODY_ELSE);
      }
    }
  return answered;
}
