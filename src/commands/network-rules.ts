import type { StoreEntry } from '../host/store.ts';
import { formatAddress, parsePrefix } from '../host/ipv4.ts';
import { checkEgress as checkHostEgress, checkUplink } from '../egress/check.ts';
import { checkNetworks as checkHost } from '../network/check.ts';
import { isByVf } from '../network/desired.ts';
import { bridgeName, portName, vxlanName } from '../network/names.ts';
import { gatewayOf } from '../network/picture.ts';
import { claim, sharedOf } from '../network/shared.ts';
import type { NetworkedHost, Rules } from '../scenario/scenario.ts';

/** Each host's networks by themselves, then all together: every host takes what it needs from one store. @throws NetworkError, EgressError */
export function checkNetworks(hosts: readonly NetworkedHost[]): void {
  for (const host of hosts) {
    const { network, uplink, containers } = host;
    checkHost(network, containers, uplink && underlayOf(uplink.prefix), uplink?.mtu);
    checkEgress(host);
  }
  let entries: readonly StoreEntry[] = [];
  for (const { name, network, uplink, containers } of hosts) {
    const { put = [] } = claim(sharedOf(entries), {
      host: name,
      networks: network.networks,
      containers,
      ...(uplink !== undefined && { tunnelAddress: uplink.prefix.split('/')[0]! }),
    });
    const written = new Map(put.map(({ key, value }) => [key, { key, value, revision: 0 }]));
    entries = [...entries.filter(({ key }) => !written.has(key)), ...written.values()];
  }
}

/** As far as it shows before anything runs: what a card can do, and whose qdisc is there, the host itself must tell. */
function checkEgress({ network, uplink, egress = {}, containers }: NetworkedHost): void {
  const byVf = new Set(network.networks.filter(isByVf).map(({ name }) => name));
  const shaped = containers.flatMap((container) => {
    if (container.egress === undefined) return [];
    const { name, attachments = [] } = container;
    const [vfs, others] = [true, false].map((isVf) => attachments.filter((each) => byVf.has(each.network) === isVf));
    return [
      {
        name,
        egress: container.egress,
        ports: others!.map((each) => ({ family: 'bridge' as const, port: portName(each.network, name), address: '' })),
        within: [],
        functions: vfs!.map((each) => ({
          name: `VF in ${each.network}`,
          card: each.network,
          refusal: null,
          wireBitsPerSec: null,
        })),
      },
    ];
  });
  checkUplink(egress);
  checkHostEgress(shaped, uplink?.link ?? null, egress, []);
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
