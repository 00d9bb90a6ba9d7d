import type { Observation } from '../engine/observation.ts';
import type { Ipv4Address, MacAddress } from '../host/ipv4.ts';
import type { Holder } from './by-hand.ts';
import { ScenarioError } from './errors.ts';

interface Had {
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
}

/** What containers have of networks, as it was told; what one gave back is remembered as the last that it had. */
export class Leases {
  readonly #had = new Map<string, Had>();

  learn(observation: Observation): void {
    if (observation.kind !== 'address' || !observation.taken) return;
    const { container, network, address, mac } = observation;
    this.#had.set(keyOf({ container, network }), { address, mac });
  }

  find(holder: Holder): Had | undefined {
    return this.#had.get(keyOf(holder));
  }
}

const keyOf = ({ container, network }: Holder): string => `${container}\n${network}`;

/** @throws ScenarioError where it never had one: what is done by hand to it would be done to nothing */
export const leaseIn =
  (leases: Leases, file: string) =>
  (holder: Holder): Had => {
    const had = leases.find(holder);
    if (had !== undefined) return had;
    throw new ScenarioError(file, [
      {
        message: `${holder.container} has no address in network ${holder.network} yet: do by hand what concerns it later`,
      },
    ]);
  };
