import { macOf } from '../../../src/network/names.ts';
import type { RoutingEntry } from '../../../src/host/routing.ts';
import type { FirewallChain, FirewallRule } from '../../../src/host/firewall.ts';
import type { PictureLink } from '../../../src/network/picture.ts';
import { plain, veth } from '../../../src/network/segment.ts';
import type { PathSpec } from '../paths.ts';
import type { PathPicture } from '../picture.ts';
import { onTheWire, type Wire } from '../wire.ts';
import { containersOf, indices, nameOf } from './containers.ts';
import { qdiscOf } from './shaped.ts';

// Ways that nobody would offer a container: each has one part more than another, which tells what that part costs.

const MTU = 1500;
const BRIDGE = 'br0';

/** A container's interface and the host's port of it. */
const ends = (index: number, portSettings: Partial<PictureLink['settings']>): PictureLink[] =>
  veth(
    {
      namespace: nameOf(index),
      link: 'eth0',
      mac: macOf(nameOf(index)),
      port: `p${index}`,
      alias: '',
      mtu: MTU,
      why: `container ${nameOf(index)}`,
    },
    portSettings,
  );

/** A segment of its own for each container, its gateway the host's port. */
function routedPicture(count: number, wire: Wire): PathPicture {
  const segment = (index: number): string => `198.19.${index}`;
  return {
    namespaces: indices(count).map(nameOf),
    links: indices(count).flatMap((index) => ends(index, { forwarding: true })),
    entries: indices(count).flatMap((index): RoutingEntry[] => [
      { kind: 'address', namespace: '', link: `p${index}`, prefix: `${segment(index)}.1/30` },
      ...behindGateway(nameOf(index), `${segment(index)}.2/30`, `${segment(index)}.1`),
    ]),
    elements: [],
    objects: [],
    containers: containersOf(count, wire),
  };
}

/** A container's own address and default route. */
export const behindGateway = (namespace: string, prefix: string, via: string): RoutingEntry[] => [
  { kind: 'address', namespace, link: 'eth0', prefix },
  { kind: 'route', namespace, link: 'eth0', to: '0.0.0.0/0', via },
];

/** A veth, routed by the host. */
export const routedPath: PathSpec = {
  name: 'routed',
  picture: routedPicture,
};

const chain = (rules: readonly FirewallRule[], more: Partial<FirewallChain> = {}): FirewallChain => ({
  family: 'inet',
  name: 'forward',
  type: 'filter',
  hook: 'forward',
  priority: 0,
  rules,
  ...more,
});

/** A way with a filter of these chains besides. */
const filtered = (path: PathSpec, name: string, chains: readonly FirewallChain[]): PathSpec => ({
  ...path,
  name,
  picture: (count, wire) => ({ ...path.picture(count, wire), frame: { sets: [], chains } }),
});

/** A rule for each of so many addresses that no container has, which every packet passes. */
export const rulesPath = (rules: number): PathSpec =>
  filtered(routedPath, `rules-${rules}`, [
    chain(
      indices(rules).map((index) => ({
        when: [{ fields: ['ip saddr'], is: { value: `203.0.113.${index}` } }],
        verdict: 'drop',
      })),
    ),
  ]);

export const trackedPath: PathSpec = filtered(routedPath, 'tracked', [
  chain([{ when: [{ fields: ['ct state'], is: { value: 'established,related' } }], verdict: 'accept' }]),
]);

const masqueraded = (path: PathSpec, name: string): PathSpec =>
  filtered(path, name, [
    chain([{ when: [{ fields: ['ip saddr'], is: { value: '198.19.0.0/16' } }], verdict: 'masquerade' }], {
      name: 'postrouting',
      type: 'nat',
      hook: 'postrouting',
      priority: 100,
    }),
  ]);
export const masqueradedPath: PathSpec = masqueraded(routedPath, 'masqueraded');

/** With an HTB on the uplink, which has one class for all. */
const shaped = (path: PathSpec): PathSpec => ({
  ...path,
  name: `${path.name}-shaped`,
  picture: (count, wire) => ({ ...path.picture(count, wire), objects: qdiscOf('', wire.uplink.link) }),
});
export const shapedRoutedPath: PathSpec = shaped(routedPath);

/** As many rules of somebody else's, by iptables, behind the one that each such firewall has, and for which the kernel tracks. */
export const iptablesPath = (rules: number): PathSpec => ({
  name: `iptables-${rules}`,
  foreign: {
    rules: `*filter\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n${indices(rules)
      .map((index) => `-A FORWARD -s 203.0.113.${index}/32 -j DROP\n`)
      .join('')}COMMIT\n`,
    passed: rules + 1,
    translates: false,
  },
  picture: routedPicture,
});

/** A bridge's frames, where nothing has them pass the filter of IP (br_netfilter is there, and off). */
const withoutCalls = (path: PathSpec): PathSpec => ({
  ...path,
  name: `${path.name}-only`,
  bridgeCalls: false,
});

const bridgeLink = (settings: Partial<PictureLink['settings']>): PictureLink => ({
  namespace: '',
  name: BRIDGE,
  kind: { type: 'bridge' },
  settings: { ...plain(MTU), mac: macOf('bridge'), ...settings },
  why: 'the bridge of all containers',
});

/** A veth, and a bridge that the wire is a port of. */
export const bridgedPath: PathSpec = {
  name: 'bridged',
  picture: (count, wire) => ({
    namespaces: indices(count).map(nameOf),
    links: [
      bridgeLink({}),
      { namespace: '', name: wire.uplink.link, settings: { master: BRIDGE }, why: 'the wire is a port' },
      ...indices(count).flatMap((index) => ends(index, { master: BRIDGE })),
    ],
    entries: indices(count).map((index) => ({
      kind: 'address',
      namespace: nameOf(index),
      link: 'eth0',
      prefix: `${onTheWire(wire, index)}/${wire.uplink.bits}`,
    })),
    elements: [],
    objects: [],
    containers: containersOf(count, wire),
  }),
};

/** A veth, a bridge, routed by the host. */
export const bridgeRoutedPath: PathSpec = {
  name: 'bridge-routed',
  picture: (count, wire) => ({
    namespaces: indices(count).map(nameOf),
    links: [bridgeLink({ forwarding: true }), ...indices(count).flatMap((index) => ends(index, { master: BRIDGE }))],
    entries: [
      { kind: 'address', namespace: '', link: BRIDGE, prefix: '198.19.0.1/24' },
      ...indices(count).flatMap((index) => behindGateway(nameOf(index), `198.19.0.${index + 2}/24`, '198.19.0.1')),
    ],
    elements: [],
    objects: [],
    containers: containersOf(count, wire),
  }),
};

export const bridgedOnlyPath: PathSpec = withoutCalls(bridgedPath);
export const bridgeRoutedOnlyPath: PathSpec = withoutCalls(bridgeRoutedPath);
export const bridgeMasqueradedPath: PathSpec = masqueraded(bridgeRoutedPath, 'bridge-masqueraded');
export const shapedMasqueradedPath: PathSpec = shaped(bridgeMasqueradedPath);
