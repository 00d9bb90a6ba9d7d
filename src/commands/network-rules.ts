import type { StoreEntry } from '../host/store.ts';
import { formatAddress, parsePrefix } from '../host/ipv4.ts';
import { checkNetworks as checkHost } from '../network/check.ts';
import { bridgeName, portName, vxlanName } from '../network/names.ts';
import { gatewayOf } from '../network/picture.ts';
import { claim, sharedOf } from '../network/shared.ts';
import type { NetworkedHost, Rules } from '../scenario/scenario.ts';

/** Each host's networks by themselves, then all together: every host takes what it needs from one store. @throws NetworkError */
export function checkNetworks(hosts: readonly NetworkedHost[]): void {
  for (const { network, uplink, containers } of hosts)
    checkHost(network, containers, underlayOf(uplink.prefix), uplink.mtu);
  let entries: readonly StoreEntry[] = [];
  for (const { name, network, uplink, containers } of hosts) {
    const { put = [] } = claim(sharedOf(entries), {
      host: name,
      networks: network.networks,
      containers,
      tunnelAddress: uplink.prefix.split('/')[0]!,
    });
    const written = new Map(put.map(({ key, value }) => [key, { key, value, revision: 0 }]));
    entries = [...entries.filter(({ key }) => !written.has(key)), ...written.values()];
  }
}

const underlayOf = (prefix: string): string => {
  const { first, bits } = parsePrefix(prefix);
  return `${formatAddress(first)}/${bits}`;
};

/** What scenarios call by whose it is. */
export const networkNames: Rules['networkNames'] = {
  bridge: bridgeName,
  vxlan: vxlanName,
  port: portName,
  gateway: (spec) => gatewayOf(spec).address,
};
