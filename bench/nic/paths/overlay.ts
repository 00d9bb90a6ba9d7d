import type { RoutingEntry } from '../../../src/host/routing.ts';
import type { NetworkSpec } from '../../../src/network/desired.ts';
import { TUNNEL_PORT } from '../../../src/network/frame.ts';
import { macOf } from '../../../src/network/names.ts';
import type { HostNetwork } from '../../../src/network/picture.ts';
import { mtuMaxOf, plain } from '../../../src/network/segment.ts';
import type { PathSpec } from '../paths.ts';
import type { PathPicture } from '../picture.ts';
import { SINK, type Wire } from '../wire.ts';
import { containersOf, indices } from './containers.ts';
import { endpointOf, networkPicture, shapedPicture } from './nat.ts';

/** A tenant's network as Plimsoll makes one. */
const NETWORK: NetworkSpec = { name: 'tenant', kind: 'overlay', pool: '10.89.0.0/24', internal: true, nat: false };
const VNI = 8472;
/** Whom all send to: a member of the same network, behind the wire. */
const FAR_ADDRESS = '10.89.0.200';
const FAR_MAC = macOf('far');
const FAR_LINK = 'vx0';

const networkOn = ({ sink }: Wire): HostNetwork => ({
  spec: NETWORK,
  vni: VNI,
  peers: [{ address: FAR_ADDRESS, mac: FAR_MAC, tunnelAddress: sink }],
});

/** The other host, in the sink's namespace: the tunnel's end is itself the member that all send to. */
function farEnd(count: number, { sink, uplink }: Wire): Pick<PathPicture, 'links' | 'entries'> {
  const at = { namespace: SINK, link: FAR_LINK } as const;
  return {
    links: [
      {
        namespace: SINK,
        name: FAR_LINK,
        kind: { type: 'vxlan', vni: VNI, local: sink, udpPort: TUNNEL_PORT },
        settings: { ...plain(mtuMaxOf(NETWORK, uplink.mtu)), mac: FAR_MAC },
        why: 'the far end of the tunnel',
      },
    ],
    entries: [
      { kind: 'address', ...at, prefix: `${FAR_ADDRESS}/24` },
      ...indices(count).flatMap((index): RoutingEntry[] => {
        const { address, mac } = endpointOf(NETWORK, index);
        return [
          { kind: 'neighbour', ...at, address, mac },
          { kind: 'fdb', ...at, mac, destination: uplink.address },
        ];
      }),
    ],
  };
}

function withFarEnd(picture: Omit<PathPicture, 'containers'>, count: number, wire: Wire): PathPicture {
  const { links, entries } = farEnd(count, wire);
  return {
    ...picture,
    links: [...picture.links, ...links],
    entries: [...picture.entries, ...entries],
    containers: containersOf(count, { sink: FAR_ADDRESS }),
  };
}

/** A veth, a bridge, Plimsoll's filter, a VXLAN. */
export const overlayPath: PathSpec = {
  name: 'overlay',
  picture: (count, wire) => withFarEnd(networkPicture(networkOn(wire), count, wire), count, wire),
};

/** The same, marked and by a class of an HTB. */
export const shapedOverlayPath: PathSpec = {
  name: 'overlay-shaped',
  picture: (count, wire) => withFarEnd(shapedPicture(networkOn(wire), count, wire), count, wire),
};
