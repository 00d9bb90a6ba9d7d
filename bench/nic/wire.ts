import { formatAddress, type Ipv4Address, parseAddress } from '../../src/host/ipv4.ts';
import type { Uplink } from '../../src/network/picture.ts';
import { plain } from '../../src/network/segment.ts';
import type { PathPicture } from './picture.ts';

/** The namespace at the far end of the host's own wire, and its link there. */
export const SINK = 'sink';
const SINK_LINK = 'eth0';

/** What leads out of the host under test, and who counts at its other end. */
export interface Wire {
  readonly uplink: Uplink;
  readonly sink: Ipv4Address;
}

/** A wire of the host's own, with addresses of RFC 2544, for benchmarks. */
export const OWN_WIRE: Wire = {
  uplink: { link: 'up0', address: '198.18.0.1', bits: 24, mtu: 1500 },
  sink: '198.18.0.2',
};

/** As `OWN_WIRE` is made: a veth whose other end is the sink's. */
export function ownWire(): Pick<PathPicture, 'namespaces' | 'links' | 'entries'> {
  const { uplink, sink } = OWN_WIRE;
  return {
    namespaces: [SINK],
    links: [
      {
        namespace: '',
        name: uplink.link,
        kind: { type: 'veth', peer: { namespace: SINK, name: SINK_LINK, alias: '' } },
        settings: { ...plain(uplink.mtu), forwarding: true },
        why: 'the wire',
      },
      { namespace: SINK, name: SINK_LINK, settings: plain(uplink.mtu), why: "the wire's other end" },
    ],
    entries: [
      { kind: 'address', namespace: '', link: uplink.link, prefix: `${uplink.address}/${uplink.bits}` },
      { kind: 'address', namespace: SINK, link: SINK_LINK, prefix: `${sink}/${uplink.bits}` },
    ],
  };
}

/** The address of a container that is on the wire itself: behind those of the host and the sink. */
export const onTheWire = ({ sink }: Wire, index: number): Ipv4Address => formatAddress(parseAddress(sink) + 8 + index);
