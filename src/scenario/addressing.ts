import type { Ipv4Address } from '../host/ipv4.ts';
import type { Leases } from './leases.ts';
import type { ReachPair, Sender, Target } from './reach.ts';
import type { Attachment, Scenario } from './scenario.ts';

/** Finds out at which address somebody is to be reached, as things are. */
export class Addressing {
  readonly #containers: Scenario['containers'];
  readonly #leases: Leases;
  readonly #attachmentsOf: (container: string) => readonly Attachment[];

  /** @param attachmentsOf where a container is attached at this time */
  constructor(
    { containers }: Pick<Scenario, 'containers'>,
    leases: Leases,
    attachmentsOf: (container: string) => readonly Attachment[],
  ) {
    this.#containers = containers;
    this.#leases = leases;
    this.#attachmentsOf = attachmentsOf;
  }

  /** Undefined: it has none. */
  addressOf({ from, to }: Pick<ReachPair, 'from' | 'to'>): Ipv4Address | undefined {
    if (to.kind === 'address') return to.address;
    const network = this.networkOf(from, to);
    return network === undefined ? undefined : this.#leases.find({ container: to.container, network })?.address;
  }

  /** The network in which a container is to be reached: the one named, the first that the sender is in too, its first. */
  networkOf(from: Sender, { container, network }: Extract<Target, { kind: 'container' }>): string | undefined {
    if (network !== undefined) return network;
    const own = this.placesOf(container);
    const senders = new Set(this.placesOf(from.namespace).map((each) => each.network));
    return (own.find((each) => senders.has(each.network)) ?? own[0])?.network;
  }

  /** Where it is attached, or was to be when it was there. */
  placesOf(container: string): readonly Attachment[] {
    const now = this.#attachmentsOf(container);
    return now.length > 0 ? now : (this.#containers.find(({ name }) => name === container)?.attachments ?? []);
  }
}
