import { translateDestination, translateSource, type Flow } from './conntrack.ts';
import { addressTowards } from './fib.ts';
import type { Hook } from './filter.ts';
import type { Journey } from './journey.ts';
import type { HostNetwork, Link } from './network.ts';
import type { Packet } from './packet.ts';
import { firstRule, mappedBy, type Chain, type Rule } from './rules.ts';

/**
 * Takes a packet of the host's own namespace through its inet chains at one hook, and translates it. `out` and `nextHop`
 * are of postrouting, where masquerading takes the link's address. False: it was dropped.
 */
export function passInet(
  journey: Journey,
  host: HostNetwork,
  hook: Hook,
  packet: Packet,
  out: Link | null,
  nextHop: number,
): boolean {
  const { filter } = host;
  const { tally } = journey;
  if (tally !== null && isTracked(host, hook, packet)) tally.count(host, 'track', packet);
  if (filter === null) return true;
  const { before, nat, after } = tally === null ? filter.inet[hook].between(packet, host) : filter.inet[hook].all;
  if (filter.tracks) journey.flows.track(host.own, packet);
  if (!passChains(journey, host, before, packet)) return false;
  if (packet.flow !== null) {
    if (hook === 'prerouting' || hook === 'output') {
      if (!packet.isReply && !packet.flow.destinationDecided)
        decideDestination(journey, host, nat, packet, packet.flow);
      if (translateDestination(packet, packet.flow)) tally?.count(host, 'translate', packet);
    } else if (hook === 'postrouting' || hook === 'input') {
      if (!packet.isReply && !packet.flow.sourceDecided && hook === 'postrouting')
        decideSource(journey, host, nat, packet, packet.flow, out, nextHop);
      if (translateSource(packet, packet.flow)) tally?.count(host, 'translate', packet);
    }
  }
  return passChains(journey, host, after, packet);
}

/** Does connection tracking look for the packet's flow here: once where it comes in or begins, if anybody asks for flows? */
const isTracked = ({ filter, beside }: HostNetwork, hook: Hook, { flow }: Packet): boolean =>
  flow === null && (hook === 'prerouting' || hook === 'output') && (filter?.tracks === true || beside.foreignRules > 0);

/** Takes a frame through the bridge chains of its host at one hook. False: it was dropped. */
export function passBridge(journey: Journey, host: HostNetwork, hook: Hook, packet: Packet): boolean {
  if (host.filter === null) return true;
  const hooked = host.filter.bridge[hook];
  const { before, after } = journey.tally === null ? hooked.between(packet, host) : hooked.all;
  return passChains(journey, host, before, packet) && passChains(journey, host, after, packet);
}

function passChains(journey: Journey, host: HostNetwork, chains: readonly Chain[], packet: Packet): boolean {
  for (const chain of chains) {
    journey.tally?.count(host, 'hook', packet);
    const rule = firstRule(chain.rules, packet, host, journey.tally);
    if (rule?.verdict !== 'drop') continue;
    if (journey.telling)
      journey.why = `dropped by ${chain.spec.family} chain ${chain.spec.name} of ${host.name}: ${rule.text}`;
    return false;
  }
  return true;
}

function decideDestination(
  { tally }: Journey,
  host: HostNetwork,
  rules: readonly Rule[],
  packet: Packet,
  flow: Flow,
): void {
  flow.destinationDecided = true;
  const rule = firstRule(rules, packet, host, tally);
  const mapped = rule === null ? null : mappedBy(rule, packet, host);
  if (mapped === null) return;
  flow.isDnat = true;
  flow.answerer = mapped[0]!;
  flow.answererPort = mapped[1] ?? packet.destPort;
}

function decideSource(
  { tally }: Journey,
  host: HostNetwork,
  rules: readonly Rule[],
  packet: Packet,
  flow: Flow,
  out: Link | null,
  nextHop: number,
): void {
  flow.sourceDecided = true;
  if (out === null || firstRule(rules, packet, host, tally)?.verdict !== 'masquerade') return;
  const address = addressTowards(out, nextHop);
  // nf_nat_masquerade_ipv4 drops what goes out by a link without an address; such a link has no route either.
  if (address === null) return;
  flow.isSnat = true;
  flow.asker = address;
}

/** Links that the host lets through another firewall's FORWARD when it lays its frame. */
const LET_THROUGH = /^pl[bpx]-/;

/** Another firewall's FORWARD, where the host has one. False: it dropped the packet. */
export function passForeign(journey: Journey, host: HostNetwork, from: Link, to: Link, packet: Packet): boolean {
  const { foreignRules } = host.beside;
  if (foreignRules > 0) {
    journey.tally?.count(host, 'hook', packet);
    journey.tally?.count(host, 'foreignRule', packet, foreignRules);
  }
  if (host.beside.foreignForward === 'accept') return true;
  if (host.filter !== null && (LET_THROUGH.test(from.name) || LET_THROUGH.test(to.name))) return true;
  if (journey.telling)
    journey.why = `dropped by another firewall's FORWARD on ${host.name}: ${from.name} to ${to.name}`;
  return false;
}
