import fc from 'fast-check';
import { formatAddress, overlaps, parsePrefix } from '../../src/host/ipv4.ts';
import type { Attachment, NetworkSpec, PublishedPort } from '../../src/network/desired.ts';
import { SERVICE_PORT } from './network-oracle.ts';

/** Hosts, networks, and who is attached, as a property draws them. Plain data: printed, it can be run again. */
export interface NetworkCase {
  readonly seed: number;
  readonly hosts: readonly {
    readonly name: string;
    readonly foreignForward: 'accept' | 'drop';
    readonly bridgeNfCallIptables: boolean;
  }[];
  readonly networks: readonly NetworkSpec[];
  readonly containers: readonly CaseContainer[];
  /** Is there a router on the underlay, which the hosts' default routes go by? */
  readonly routed: boolean;
  readonly payloadBytes: number;
}

export interface CaseContainer {
  readonly name: string;
  readonly host: string;
  readonly attachments: readonly Attachment[];
}

/** The address of host number so. */
export const uplinkAddress = (index: number): string => `192.168.77.${11 + index}`;
const UNDERLAY = '192.168.77.0/24';
/** Of the machine outside, which is the router where there is one. */
export const OUTSIDE = '192.168.77.1';

/** Of another host, of the machine outside, of somebody's intranet place, of a gateway and of nobody. */
const FOREIGN = [uplinkAddress(1), OUTSIDE, '192.168.77.139', '10.0.0.11', '192.168.77.250'] as const;

/** Tenants choose the same ones on purpose; the last is the underlay's own. */
const CLOSED_POOLS = ['10.0.0.0/24', '10.0.0.0/24', '10.0.0.0/28', '10.1.0.0/16', UNDERLAY] as const;
const OPEN_POOLS = ['10.0.0.0/24', '10.0.0.0/24', '10.1.0.0/16', '172.16.5.0/28'] as const;
const INTRANET = { routed: '192.168.77.128/28', macvlan: '192.168.77.160/28' } as const;

const closed: fc.Arbitrary<Omit<NetworkSpec, 'name'>> = fc.record({
  kind: fc.constantFrom('bridge' as const, 'overlay' as const),
  pool: fc.constantFrom(...CLOSED_POOLS),
  internal: fc.boolean(),
  nat: fc.constant(false),
});
const open: fc.Arbitrary<Omit<NetworkSpec, 'name'>> = fc.record({
  kind: fc.constantFrom('bridge' as const, 'overlay' as const),
  pool: fc.constantFrom(...OPEN_POOLS),
  internal: fc.constant(false),
  nat: fc.constant(true),
});
const intranet: fc.Arbitrary<Omit<NetworkSpec, 'name'>> = fc
  .constantFrom('routed' as const, 'macvlan' as const)
  .map((by) => ({ kind: 'intranet' as const, pool: INTRANET[by], internal: false, nat: false, by }));

/** What a container draws of one place; it is fitted to what else there is. */
interface Draw {
  readonly network: number;
  /** The so-manieth of the segment's addresses that are asked for by name; any one where null. */
  readonly fixed: boolean;
  readonly publish: number;
  /** The first at this address alone: the host's own, or one that is not the host's, and so leads nowhere. */
  readonly at: null | 'own' | 'foreign';
  /** The first at the port where hosts answer themselves. */
  readonly asService: boolean;
}

const draw: fc.Arbitrary<Draw> = fc.record({
  network: fc.nat({ max: 5 }),
  fixed: fc.constantFrom(true, false, false),
  publish: fc.constantFrom(0, 0, 1, 1, 2),
  at: fc.constantFrom(null, null, null, 'own' as const, 'foreign' as const),
  asService: fc.constantFrom(true, false, false),
});

/** Networks of every kind, two tenants in one segment on one host being common, on one to four hosts. */
export const networkCase: fc.Arbitrary<NetworkCase> = fc
  .record({
    seed: fc.nat(),
    hosts: fc.array(
      fc.record({
        foreignForward: fc.constantFrom('accept' as const, 'accept' as const, 'drop' as const),
        bridgeNfCallIptables: fc.constantFrom(false, false, true),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    networks: fc
      .tuple(closed, open, fc.array(fc.oneof(closed, open, intranet, intranet), { minLength: 1, maxLength: 4 }))
      .map(([first, second, more]) => [first, second, ...more]),
    containers: fc.array(
      fc.record({ host: fc.nat({ max: 3 }), places: fc.array(draw, { minLength: 1, maxLength: 3 }) }),
      { minLength: 1, maxLength: 9 },
    ),
    routed: fc.boolean(),
    // The last is what just fits through a tunnel: 1450 less the headers of IPv4 and UDP.
    payloadBytes: fc.constantFrom(64, 64, 1422),
  })
  .map(({ hosts, networks, containers, ...rest }) => {
    const named = networks.map((network, index) => ({ name: `n${index}`, ...network }));
    return {
      ...rest,
      hosts: hosts.map((host, index) => ({ name: `h${index}`, ...host })),
      networks: named,
      containers: fit(containers, named, hosts.length),
    };
  });

/** Leaves out what would be refused, and no more: see `checkNetworks`. */
function fit(
  drawn: readonly { readonly host: number; readonly places: readonly Draw[] }[],
  networks: readonly NetworkSpec[],
  hosts: number,
): CaseContainer[] {
  const used = new Map<number, Set<NetworkSpec>>();
  const fixed = new Map<string, number>();
  const serving = new Set<number>();
  let hostPort = 8000;
  return drawn.map((each, number) => {
    const host = each.host % hosts;
    const onHost = used.get(host) ?? new Set<NetworkSpec>();
    used.set(host, onHost);
    const own: NetworkSpec[] = [];
    const attachments = each.places.flatMap((place): Attachment[] => {
      const spec = networks[place.network % networks.length]!;
      const clashes = (other: NetworkSpec): boolean => other !== spec && isAmbiguous(other, spec);
      if (own.includes(spec) || own.some(clashes)) return [];
      if (
        isRouted(spec) &&
        [...onHost].some((other) => isRouted(other) && other !== spec && overlaps(other.pool, spec.pool))
      )
        return [];
      own.push(spec);
      onHost.add(spec);
      // Intranet addresses are one's alone, whatever their networks are called.
      const segment = spec.kind === 'intranet' ? spec.pool : spec.name;
      const count = fixed.get(segment) ?? 0;
      const isFixed = place.fixed && count < 4;
      if (isFixed) fixed.set(segment, count + 1);
      const publish = spec.nat ? place.publish : 0;
      return [
        {
          network: spec.name,
          // Beyond the lowest ones, which whoever asks for none gets: .11 to .14, as hosts have on the underlay.
          ...(isFixed && { address: formatAddress(parsePrefix(spec.pool).first + 11 + count) }),
          publish: Array.from({ length: publish }, (_, index): PublishedPort => {
            const asService = index === 0 && place.asService && !serving.has(host);
            if (asService) serving.add(host);
            return {
              protocol: 'udp',
              hostPort: asService ? SERVICE_PORT : hostPort++,
              containerPort: SERVICE_PORT,
              ...(place.at !== null &&
                index === 0 && {
                  hostAddress: place.at === 'own' ? uplinkAddress(host) : FOREIGN[number % FOREIGN.length]!,
                }),
            };
          }),
        },
      ];
    });
    return { name: `c${number}`, host: `h${host}`, attachments };
  });
}

const isRouted = ({ kind, nat }: NetworkSpec): boolean => kind === 'intranet' || nat;

/** A way out and an intranet address go together, and so do two ways out; a closed segment with the same addresses does not. */
const isAmbiguous = (a: NetworkSpec, b: NetworkSpec): boolean =>
  isRouted(a) && isRouted(b)
    ? overlaps(a.pool, b.pool) || (a.kind === 'intranet' && b.kind === 'intranet')
    : reachOf(a).some((one) => reachOf(b).some((other) => overlaps(one, other)));

/** Where a container's interface leads: of two that lead to one address nothing says which it means. */
const reachOf = ({ kind, pool, nat }: NetworkSpec): readonly string[] =>
  kind === 'intranet' ? [UNDERLAY] : nat ? [pool, UNDERLAY] : [pool];
