import type {
  FirewallChain,
  FirewallField,
  FirewallFrame,
  FirewallMatch,
  FirewallRule,
  FirewallSet,
  FirewallVerdict,
} from '../host/firewall.ts';

/** A UDP port of our own for tunnels: 4789 is Docker's and 8472 flannel's, and what comes to ours from no peer is dropped. */
export const TUNNEL_PORT = 47_890;

/** Before the filter rules of others (priority 0: Docker's among them), so that what they let pass cannot open what we close. */
const FILTER = -10;
/** NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC (include/uapi/linux/netfilter_ipv4.h). */
const NAT_DST = -100;
const NAT_SRC = 100;
/** NF_BR_PRI_NAT_DST_BRIDGED (include/uapi/linux/netfilter_bridge.h): before anything else looks at a frame. */
const BRIDGED = -300;
/** NF_IP_PRI_MANGLE (include/uapi/linux/netfilter_ipv4.h): before any translation. */
const MANGLE = -150;

const value = (field: FirewallField, is: string): FirewallMatch => ({ fields: [field], is: { value: is } });
const within = (set: string, ...fields: FirewallField[]): FirewallMatch => ({ fields, is: { set } });
const notWithin = (set: string, ...fields: FirewallField[]): FirewallMatch => ({ fields, not: true, is: { set } });
const rule = (verdict: FirewallVerdict, ...when: FirewallMatch[]): FirewallRule => ({ when, verdict });

/**
 * The sets. `ports` and `bindings`: bridge ports of containers, and the one pair of MAC and address each may send from.
 * Of the bridge, `closed`: ports, tunnels too, of networks with no way in or out.
 * `ours`: all links that containers are behind. `closed`: bridges with no way in or out. `ways`: bridges with a way out,
 * and their segments. `inside`: each bridge with itself. `natted`: segments that leave by the host's address. `serving`
 * and `intranet`: host ends of intranet addresses. `peers`: hosts that tunnels come from. `marks`: of each container that
 * is shaped, by the port it sends from and its address there, the mark of its class.
 */
const SETS: readonly FirewallSet[] = [
  { family: 'bridge', name: 'ports', fields: ['iifname'] },
  { family: 'bridge', name: 'bindings', fields: ['iifname', 'ether saddr', 'ip saddr'] },
  { family: 'bridge', name: 'closed', fields: ['iifname'] },
  { family: 'bridge', name: 'marks', fields: ['iifname', 'ip saddr'], to: ['meta mark'] },
  { family: 'inet', name: 'ours', fields: ['iifname'] },
  { family: 'inet', name: 'closed', fields: ['iifname'] },
  { family: 'inet', name: 'ways', fields: ['iifname', 'ip saddr'], intervals: true },
  { family: 'inet', name: 'inside', fields: ['iifname', 'oifname'] },
  { family: 'inet', name: 'natted', fields: ['ip saddr'], intervals: true },
  { family: 'inet', name: 'serving', fields: ['iifname'] },
  { family: 'inet', name: 'intranet', fields: ['iifname', 'ip saddr'] },
  { family: 'inet', name: 'peers', fields: ['ip saddr'] },
  { family: 'inet', name: 'marks', fields: ['iifname', 'ip saddr'], to: ['meta mark'] },
  { family: 'inet', name: 'published', fields: ['meta l4proto', 'th dport'], to: ['ip daddr', 'th dport'] },
  {
    family: 'inet',
    name: 'published_at',
    fields: ['ip daddr', 'meta l4proto', 'th dport'],
    to: ['ip daddr', 'th dport'],
  },
];

/**
 * What comes from a container has no mark: it loses what its sender set on its way out of the namespace (skb_scrub_packet).
 * One of ours stays with it through bridge, routing, translation and tunnel, until it leaves the host's own namespace.
 */
const marked = rule({ mark: { map: 'marks', by: ['iifname', 'ip saddr'] } });

/** A container sends from its own MAC and address, in IP and in ARP, and nothing else (IPv6 neither). */
const ANTI_SPOOFING: FirewallChain = {
  family: 'bridge',
  name: 'prerouting',
  type: 'filter',
  hook: 'prerouting',
  priority: BRIDGED,
  rules: [
    // First: what is accepted goes no further, and what is forged is dropped, marked or not.
    marked,
    rule('accept', value('ether type', 'ip'), within('bindings', 'iifname', 'ether saddr', 'ip saddr')),
    // The sender within the ARP and the sender of the frame: the bridge learns from the one, neighbours from the other.
    rule(
      'accept',
      value('ether type', 'arp'),
      within('bindings', 'iifname', 'ether saddr', 'arp saddr ip'),
      within('bindings', 'iifname', 'arp saddr ether', 'arp saddr ip'),
    ),
    rule('drop', within('ports', 'iifname')),
  ],
};

/**
 * Nothing of a closed network comes to the host itself, ARP neither: the kernel answers for all addresses of the host on
 * all its links (arp_ignore 0), also for one that a tenant's container has.
 */
const CLOSED: FirewallChain = {
  family: 'bridge',
  name: 'input',
  type: 'filter',
  hook: 'input',
  priority: BRIDGED,
  rules: [rule('drop', within('closed', 'iifname'))],
};

/** Of the host's own addresses alone: who publishes at another's must not take what goes there. */
const published: readonly FirewallRule[] = [
  rule(
    { dnat: { map: 'published_at', by: ['ip daddr', 'meta l4proto', 'th dport'] } },
    value('fib daddr type', 'local'),
  ),
  rule({ dnat: { map: 'published', by: ['meta l4proto', 'th dport'] } }, value('fib daddr type', 'local')),
];

/**
 * A container with a way out could speak to another host's tunnel in its own host's name, and so to any tenant. The port is
 * looked at first: hardly a packet has it, and a lookup in a set is what costs.
 */
const noTunnelFromContainers = [
  value('meta l4proto', 'udp'),
  value('th dport', String(TUNNEL_PORT)),
  within('ours', 'iifname'),
];

/**
 * Masquerading keeps a source port: one that sends from the tunnels' would be sent what comes to them, as the answer to what it
 * sent (seen on kernel 6.18).
 */
const noTunnelsSource = [
  value('meta l4proto', 'udp'),
  value('th sport', String(TUNNEL_PORT)),
  within('ours', 'iifname'),
];

/** Frames within one bridge pass the forward hook where bridge-nf-call-iptables is 1. */
const leavesItsBridge = notWithin('inside', 'iifname', 'oifname');

const noForgedService = rule('drop', within('serving', 'iifname'), notWithin('intranet', 'iifname', 'ip saddr'));
const established = rule('accept', value('ct state', 'established,related'));

/** The whole filter, the same on every host: only the elements of its sets come and go. */
export const FRAME: FirewallFrame = {
  sets: SETS,
  chains: [
    ANTI_SPOOFING,
    CLOSED,
    // Ports that are no bridge's.
    { family: 'inet', name: 'marking', type: 'filter', hook: 'prerouting', priority: MANGLE, rules: [marked] },
    {
      family: 'inet',
      name: 'prerouting',
      type: 'nat',
      hook: 'prerouting',
      priority: NAT_DST,
      // Where bridge-nf-call-iptables is 1 frames within a closed network pass here, some to an address that is the host's too.
      rules: [rule('accept', within('closed', 'iifname')), ...published],
    },
    {
      family: 'inet',
      name: 'output',
      type: 'nat',
      hook: 'output',
      priority: NAT_DST,
      // A packet to a loopback address cannot leave the host (route_localnet is off).
      rules: [rule('accept', { fields: ['ip daddr'], is: { value: '127.0.0.0/8' } }), ...published],
    },
    {
      family: 'inet',
      name: 'sending',
      type: 'filter',
      hook: 'output',
      priority: FILTER,
      // The host has no address in a closed network; should somebody give it one, it still sends nothing there.
      rules: [rule('drop', within('closed', 'oifname'))],
    },
    {
      family: 'inet',
      name: 'input',
      type: 'filter',
      hook: 'input',
      priority: FILTER,
      rules: [
        rule('drop', within('closed', 'iifname')),
        rule('drop', ...noTunnelFromContainers),
        rule(
          'drop',
          value('meta l4proto', 'udp'),
          value('th dport', String(TUNNEL_PORT)),
          notWithin('peers', 'ip saddr'),
        ),
        noForgedService,
        established,
        rule('drop', within('serving', 'iifname')),
      ],
    },
    {
      family: 'inet',
      name: 'forward',
      type: 'filter',
      hook: 'forward',
      priority: FILTER,
      rules: [
        rule('drop', ...noTunnelFromContainers, leavesItsBridge),
        rule('drop', ...noTunnelsSource, leavesItsBridge),
        // What most packets are comes first. Nothing closed is among it: a closed bridge has no way, and is one of ours.
        rule('accept', within('ways', 'iifname', 'ip saddr'), notWithin('ours', 'oifname')),
        rule('accept', within('inside', 'iifname', 'oifname')),
        rule('drop', within('closed', 'iifname')),
        rule('drop', within('closed', 'oifname')),
        noForgedService,
        established,
        // An intranet address is for inbound service: nothing new begins from it.
        rule('drop', within('serving', 'iifname')),
        rule('accept', value('ct status', 'dnat'), within('ways', 'oifname', 'ip daddr')),
        rule('accept', within('intranet', 'oifname', 'ip daddr')),
        rule('drop', within('ours', 'iifname')),
        rule('drop', within('ours', 'oifname')),
      ],
    },
    {
      family: 'inet',
      name: 'postrouting',
      type: 'nat',
      hook: 'postrouting',
      priority: NAT_SRC,
      rules: [
        // Back to the network it came from by a published port: the answer must come by the host again.
        rule('masquerade', value('ct status', 'dnat'), within('natted', 'ip saddr')),
        rule('accept', within('ours', 'oifname'), notWithin('intranet', 'oifname', 'ip daddr')),
        rule('masquerade', within('natted', 'ip saddr')),
      ],
    },
  ],
};
