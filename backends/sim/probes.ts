import { HostError } from '../../src/host/errors.ts';
import { AddressError } from '../../src/host/ipv4.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import type { Arrival, Probe, ProbeResult, Probes } from '../../src/host/probes.ts';
import { addressOf, addressText, type HostNetwork, type Listener, type Space } from './network.ts';
import { ICMP, UDP } from './packet.ts';
import { createStreams } from './streams.ts';
import { type Question, Walk } from './walk.ts';

/** The least that a probe carries. */
const PAYLOAD_MIN_BYTES = 64;

/** Probes that walk through the model: the answer is known at once. */
export function createProbes(host: HostNetwork): Probes {
  const walk = new Walk(host.network);
  const spaceOf = (name: NamespaceName, operation: string, target: string): Space => {
    const space = host.spaces.get(name);
    if (space === undefined) throw new HostError('ENODEV', operation, target, { detail: 'no such namespace' });
    return space;
  };
  return {
    async answer(places) {
      const arrivals: Arrival[] = [];
      const listener: Listener = {
        arrived: (at, sentTo, sentBy, seenFrom) =>
          void arrivals.push({
            at: at.label,
            sentTo: addressText(sentTo),
            sentBy: sentBy.label,
            seenFrom: addressText(seenFrom),
          }),
      };
      const taken: { readonly space: Space; readonly port: number }[] = [];
      const close = (): void => {
        for (const { space, port } of taken) space.listeners.delete(port);
        taken.length = 0;
      };
      try {
        for (const { namespace, port } of places) {
          const target = `${host.name}/${namespace} port ${port}`;
          const space = spaceOf(namespace, 'probes.answer', target);
          if (space.listeners.has(port) || host.network.traffic.endAt(space, UDP, port) !== undefined)
            throw new HostError('EADDRINUSE', 'probes.answer', target);
          space.listeners.set(port, listener);
          taken.push({ space, port });
        }
      } catch (error) {
        close();
        throw error;
      }
      return { arrivals: async () => [...arrivals], close: async () => close() };
    },
    async send(probes) {
      const questions = probes.map((probe) => {
        const target = `${host.name}/${probe.from} to ${probe.to}`;
        return questionOf(probe, spaceOf(probe.from, 'probes.send', target), target);
      });
      return questions.map((question): ProbeResult => {
        walk.ask(question, true);
        const isUdp = question.protocol === UDP;
        const { answeredBy, arrivedAt, seenFrom, why } = walk;
        return {
          answeredBy: answeredBy && (isUdp ? answeredBy.label : 'kernel'),
          arrivedAt: isUdp ? (arrivedAt?.label ?? null) : null,
          seenFrom: isUdp && arrivedAt !== null ? addressText(seenFrom) : null,
          why,
        };
      });
    },
    ...createStreams(host, spaceOf),
  };
}

/** @throws HostError EINVAL */
function questionOf(probe: Probe, from: Space, target: string): Question {
  const { to, protocol, port = 0, payloadBytes = 0, forgedSource, mark } = probe;
  try {
    return {
      from,
      to: addressOf(to),
      protocol: protocol === 'udp' ? UDP : ICMP,
      port: protocol === 'udp' ? port : 0,
      payloadBytes: Math.max(payloadBytes, PAYLOAD_MIN_BYTES),
      forgedSource: forgedSource === undefined ? 0 : addressOf(forgedSource),
      ...(mark !== undefined && { mark: Number(mark) }),
    };
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    throw new HostError('EINVAL', 'probes.send', target, { detail: error.message, cause: error });
  }
}
