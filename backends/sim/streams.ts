import { HostError, type Errno } from '../../src/host/errors.ts';
import { AddressError } from '../../src/host/ipv4.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { type Probes, type Stream, STREAM_PAYLOAD_BYTES, STREAM_PAYLOAD_BYTES_MAX } from '../../src/host/probes.ts';
import { wayOf } from './flow-way.ts';
import type { StreamSent } from './going-stream.ts';
import { addressOf, type HostNetwork, type Space } from './network.ts';
import { HEADER_BYTES, TCP, UDP } from './packet.ts';
import { StreamEnd } from './stream-end.ts';

/** Streams of packets through the model: see traffic.ts. */
export function createStreams(
  host: HostNetwork,
  spaceOf: (name: NamespaceName, operation: string, target: string) => Space,
): Pick<Probes, 'receive' | 'stream'> {
  const { traffic } = host.network;
  return {
    async receive(places) {
      const ends: StreamEnd[] = [];
      const close = (): void => {
        for (const end of ends) traffic.close(end);
      };
      const located = places.map((place) => {
        const { namespace, protocol, port } = place;
        const target = `${host.name}/${namespace} ${protocol} port ${port}`;
        return { ...place, target, space: spaceOf(namespace, 'probes.receive', target) };
      });
      for (const { space, protocol: name, port, target } of located) {
        const protocol = name === 'tcp' ? TCP : UDP;
        const isTaken = protocol === UDP && space.listeners.has(port);
        if (isTaken || traffic.endAt(space, protocol, port) !== undefined) {
          close();
          throw new HostError('EADDRINUSE', 'probes.receive', target);
        }
        const end = new StreamEnd(space, protocol, port);
        ends.push(end);
        traffic.open(end);
      }
      return {
        async wireBytes() {
          traffic.settle();
          const at = ends.findIndex(({ unknown }) => unknown !== null);
          if (at >= 0)
            throw new HostError('EOPNOTSUPP', 'probes.receive', located[at]!.target, { detail: ends[at]!.unknown! });
          return ends.map(({ wireBytes }) => wireBytes);
        },
        close: async () => close(),
      };
    },
    async stream(streams) {
      const located = streams.map((stream) => {
        const target = `${host.name}/${stream.from} to ${stream.to} ${stream.protocol} port ${stream.port}`;
        return { stream, target, from: spaceOf(stream.from, 'probes.stream', target) };
      });
      const all = located.map(({ stream, target, from }) => ({ target, sent: sentOf(host, stream, from, target) }));
      for (const { sent, target } of all)
        if (sent.protocol === TCP && !isTaken(host, sent))
          throw refusal('EHOSTUNREACH', target, 'nobody answers there');
      const begun = traffic.begin(all);
      return { close: async () => traffic.end(begun) };
    },
  };
}

const refusal = (code: Errno, target: string, detail: string, cause?: unknown): HostError =>
  new HostError(code, 'probes.stream', target, { detail, cause });

/** @throws HostError EINVAL, EHOSTUNREACH */
function sentOf(host: HostNetwork, stream: Stream, from: Space, target: string): StreamSent {
  const { to, port, protocol, payloadBytes = STREAM_PAYLOAD_BYTES, rateBitsPerSec = Infinity } = stream;
  if (!(payloadBytes >= 1 && payloadBytes <= STREAM_PAYLOAD_BYTES_MAX))
    throw refusal('EINVAL', target, `a datagram holds 1 to ${STREAM_PAYLOAD_BYTES_MAX} bytes, not ${payloadBytes}`);
  if (!(rateBitsPerSec > 0)) throw refusal('EINVAL', target, `a rate is above 0, not ${rateBitsPerSec}`);
  const sent: StreamSent = {
    from,
    to: addressIn(to, target),
    port,
    protocol: protocol === 'tcp' ? TCP : UDP,
    payloadBytes,
    rateBitsPerSec: protocol === 'tcp' ? Infinity : rateBitsPerSec,
  };
  const { hasRoute } = wayOf(host.network, { ...sent, bytes: HEADER_BYTES });
  if (!hasRoute) throw refusal('EHOSTUNREACH', target, `no route to ${to} in ${from.label}`);
  return sent;
}

/** @throws HostError EINVAL */
function addressIn(text: string, target: string): number {
  try {
    return addressOf(text);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    throw refusal('EINVAL', target, error.message, error);
  }
}

/** Does somebody take the connection, and does the answer come back? */
function isTaken({ network }: HostNetwork, sent: StreamSent): boolean {
  const { arrival, isAnswered } = wayOf(network, { ...sent, bytes: HEADER_BYTES });
  return isAnswered && arrival !== null && network.traffic.endAt(arrival.space, TCP, arrival.port) !== undefined;
}
