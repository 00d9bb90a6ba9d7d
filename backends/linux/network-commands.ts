import { type FirewallChange } from '../../src/host/firewall.ts';
import type { LinkChange, LinkMove, LinkSpec } from '../../src/host/links.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { type Announcement, MAIN_TABLE, ROUTE_PROTOCOL, type RoutingEntry } from '../../src/host/routing.ts';
import type { Step } from '../../src/host/steps.ts';
import { NOTHING, unchanged, withChange } from './firewall-contents.ts';
import { scriptOf } from './nft-text.ts';
import { quote } from './quote.ts';

/** A step that concerns networks. */
export type NetworkStep = Extract<Step, { verb: `${'namespaces' | 'links' | 'routing' | 'firewall'}.${string}` }>;

/** Is it one? */
export const isNetworkStep = (step: Step): step is NetworkStep =>
  /^(?:namespaces|links|routing|firewall)\./.test(step.verb);

/** The commands that do on a shell, as root in the host's own namespace, what a step of a network does. */
export function networkCommandOf(step: NetworkStep): string[] {
  switch (step.verb) {
    case 'namespaces.create':
      return createNamespace(step.with);
    case 'namespaces.remove':
      return [`ip netns delete ${quote(step.with)}`];
    case 'links.create':
      return createLink(step.with);
    case 'links.set':
      return setLink(step.with);
    case 'links.move':
      return [moveLink(step.with)];
    case 'links.remove':
      return [`${ip(step.with.namespace)} link delete ${quote(step.with.name)}`];
    case 'routing.add':
      return addEntry(step.with);
    case 'routing.remove':
      return [entryCommand('delete', step.with)];
    case 'routing.announce':
      return announce(step.with);
    case 'firewall.apply':
      return applyFirewall(step.with);
  }
}

const within = (namespace: NamespaceName): string =>
  namespace === ''
    ? ''
    : namespace.startsWith('/')
      ? `nsenter --net=${quote(namespace)} `
      : `ip netns exec ${quote(namespace)} `;

const ip = (namespace: NamespaceName): string =>
  namespace === '' ? 'ip' : namespace.startsWith('/') ? `${within(namespace)}ip` : `ip -n ${quote(namespace)}`;

const bridge = (namespace: NamespaceName): string =>
  namespace === '' || namespace.startsWith('/') ? `${within(namespace)}bridge` : `bridge -n ${quote(namespace)}`;

/** Redirection is the shell's, so it must be one inside the namespace. */
const write = (namespace: NamespaceName, file: string, value: string): string =>
  namespace === ''
    ? `echo ${value} > ${quote(file)}`
    : `${within(namespace)}sh -c ${quote(`echo ${value} > ${quote(file)}`)}`;

const createNamespace = (name: NamespaceName): string[] => [
  `ip netns add ${quote(name)}`,
  write(name, '/proc/sys/net/ipv6/conf/default/disable_ipv6', '1'),
  write(name, '/proc/sys/net/ipv6/conf/all/disable_ipv6', '1'),
  `ip -n ${quote(name)} link set lo up`,
];

function createLink({ namespace, name, alias, mac, mtu, kind }: LinkSpec): string[] {
  const settings = (size: typeof mtu, address: typeof mac): string =>
    `${size === undefined ? '' : ` mtu ${size}`}${address === undefined ? '' : ` address ${address}`}`;
  const own = `name ${quote(name)}${settings(mtu, mac)}`;
  const mark = (at: NamespaceName, link: string, text: string): string[] =>
    text === '' ? [] : [`${ip(at)} link set dev ${quote(link)} alias ${quote(text)}`];
  switch (kind.type) {
    case 'bridge':
      return [`${ip(namespace)} link add ${own} type bridge`, ...mark(namespace, name, alias)];
    case 'vxlan':
      return [
        `${ip(namespace)} link add ${own} type vxlan id ${kind.vni} local ${kind.local} dstport ${kind.udpPort} nolearning proxy`,
        ...mark(namespace, name, alias),
      ];
    case 'macvlan':
      return [
        `ip link add ${own}${namespace === '' ? '' : ` netns ${quote(namespace)}`} link ${quote(kind.parent)} type macvlan mode bridge`,
        ...mark(namespace, name, alias),
      ];
    case 'veth': {
      const { peer } = kind;
      const there = peer.namespace === namespace ? '' : ` netns ${quote(peer.namespace)}`;
      return [
        `${ip(namespace)} link add ${own} type veth peer name ${quote(peer.name)}${settings(peer.mtu, peer.mac)}${there}`,
        ...mark(namespace, name, alias),
        ...mark(peer.namespace, peer.name, peer.alias),
      ];
    }
  }
}

function setLink({ namespace, name, set }: LinkChange): string[] {
  const { up, mtu, mac, alias, master, learning, hairpin, forwarding, ipv6 } = set;
  const words = [
    ...(mtu === undefined ? [] : [`mtu ${mtu}`]),
    ...(mac === undefined ? [] : [`address ${mac}`]),
    ...(alias === undefined ? [] : [`alias ${quote(alias)}`]),
    ...(master === undefined ? [] : [master === null ? 'nomaster' : `master ${quote(master)}`]),
  ];
  const port = (setting: string, on: boolean | undefined): string[] =>
    on === undefined ? [] : [`${bridge(namespace)} link set dev ${quote(name)} ${setting} ${on ? 'on' : 'off'}`];
  const file = (family: string, setting: string): string => `/proc/sys/net/${family}/conf/${name}/${setting}`;
  return [
    ...(ipv6 === undefined ? [] : [write(namespace, file('ipv6', 'disable_ipv6'), ipv6 ? '0' : '1')]),
    ...(words.length === 0 ? [] : [`${ip(namespace)} link set dev ${quote(name)} ${words.join(' ')}`]),
    ...port('learning', learning),
    ...port('hairpin', hairpin),
    ...(forwarding === undefined ? [] : [write(namespace, file('ipv4', 'forwarding'), forwarding ? '1' : '0')]),
    ...(up === undefined ? [] : [`${ip(namespace)} link set dev ${quote(name)} ${up ? 'up' : 'down'}`]),
  ];
}

function moveLink({ namespace, name, to }: LinkMove): string {
  const set = `${ip(namespace)} link set dev ${quote(name)}`;
  if (namespace === to.namespace)
    return `${set} down && ${ip(namespace)} address flush dev ${quote(name)} && ${set} name ${quote(to.name)}`;
  // Process 1 is in the machine's own.
  return `${set} netns ${to.namespace === '' ? '1' : quote(to.namespace)} name ${quote(to.name)}`;
}

/** `-U`: a request in which the sender asks for itself (arping(8) of iputils). */
function announce({ namespace, link, address }: Announcement): string[] {
  const command = `${within(namespace)}arping -q -U -c 1 -I ${quote(link)} ${address}`;
  // What the host announces is an address behind it, which arping takes for its own only so.
  const file = '/proc/sys/net/ipv4/ip_nonlocal_bind';
  return namespace === '' ? [`was=$(cat ${file})`, `echo 1 > ${file}`, command, `echo "$was" > ${file}`] : [command];
}

function addEntry(entry: RoutingEntry): string[] {
  const command = entryCommand('add', entry);
  return entry.kind === 'proxy'
    ? // The kernel answers for another after up to 0.8 s otherwise.
      [command, write(entry.namespace, `/proc/sys/net/ipv4/neigh/${entry.link}/proxy_delay`, '0')]
    : [command];
}

function entryCommand(verb: 'add' | 'delete', entry: RoutingEntry): string {
  const tool = ip(entry.namespace);
  const dev = entry.kind === 'rule' ? '' : `dev ${quote(entry.link)}`;
  const mark = `protocol ${ROUTE_PROTOCOL}`;
  switch (entry.kind) {
    case 'address':
      return `${tool} address ${verb} ${entry.prefix} ${dev}`;
    case 'route': {
      const via = entry.via === undefined ? '' : ` via ${entry.via}`;
      const source = entry.source === undefined ? '' : ` src ${entry.source}`;
      const table = (entry.table ?? MAIN_TABLE) === MAIN_TABLE ? '' : ` table ${entry.table}`;
      const onlink = entry.via === undefined ? ' scope link' : ' onlink';
      return `${tool} route ${verb} ${entry.to}${via} ${dev} ${mark}${table}${source}${onlink}`;
    }
    case 'rule':
      return `${tool} rule ${verb} priority ${1000 + entry.table} from ${entry.from} table ${entry.table} ${mark}`;
    case 'neighbour':
      return `${tool} neighbour ${verb} ${entry.address} lladdr ${entry.mac} ${dev} nud permanent ${mark}`;
    case 'proxy':
      return `${tool} neighbour ${verb} proxy ${entry.address} ${dev} ${mark}`;
    case 'fdb': {
      const to = entry.destination === undefined ? 'master static' : `dst ${entry.destination} self permanent`;
      return `${bridge(entry.namespace)} fdb ${verb} ${entry.mac} ${dev} ${to}`;
    }
  }
}

/** As it is on a host where nothing of ours is yet; elements that come later need the frame that was laid before. */
function applyFirewall(change: FirewallChange): string[] {
  const script = scriptOf(withChange(unchanged(NOTHING), change), new Set());
  return ["nft -f - <<'EOF'", ...script.map(({ text }) => text), 'EOF'];
}
