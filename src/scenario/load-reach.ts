import type { Ipv4Address } from '../host/ipv4.ts';
import { AddressError, parseAddress } from '../host/ipv4.ts';
import type { Milliseconds } from '../host/units.ts';
import type { Checking } from './checking.ts';
import type { ReachWritten } from './claims.ts';
import { hint } from './nearest.ts';
import type { ReachClaim, ReachPair, Sender, Target } from './reach.ts';
import type { Scenario, ScenarioHost } from './scenario.ts';
import type { Path } from './source.ts';

/** Probes that nobody gave a time are sent so long before the end: what gets no answer takes a moment. */
const BEFORE_END_MS = 1000;

/** The names of a claim looked up. */
export function reachOf(
  checking: Checking,
  written: ReachWritten,
  scenario: Pick<Scenario, 'hosts' | 'containers' | 'endMs'>,
  path: Path,
): ReachClaim {
  const ends = new Ends(checking, scenario, path);
  const { kind, as, payload, seenFrom, answeredBy } = written;
  const atMs = written.at ?? (Math.max(0, scenario.endMs - BEFORE_END_MS) as Milliseconds);
  if (atMs >= scenario.endMs && scenario.endMs > 0)
    checking.problem([...path, 'at'], 'it comes when the scenario has ended: put the end later');
  if (kind === 'cannotReach' && (answeredBy ?? seenFrom) !== undefined)
    checking.problem(path, 'nobody answers who is not reached: leave answeredBy and seenFrom out');
  const ways = written.from.flatMap((from) =>
    written.to.flatMap((to) => (from === to.split('@')[0] ? [] : [{ from, to }])),
  );
  if (scenario.hosts.every(({ network }) => network === undefined)) {
    checking.problem(path, 'there are no networks: write networks');
    return { kind, pairs: [], momentMs: atMs };
  }
  const pairs = ways.flatMap(({ from, to }): ReachPair[] => {
    const pair = ends.pair(kind, from, to, answeredBy);
    return pair === undefined ? [] : [pair];
  });
  if (ways.length === 0) checking.problem(path, 'it claims nothing: nobody is asked to reach another');
  const wanted = seenFrom === undefined ? undefined : ends.address(seenFrom, 'seenFrom');
  return {
    kind,
    pairs,
    momentMs: atMs,
    ...(as !== undefined && { forgedSource: as }),
    ...(payload !== undefined && { payload }),
    ...(wanted !== undefined && { seenFrom: wanted }),
  };
}

/** Who is meant by the names in a claim. */
export class Ends {
  readonly #checking: Checking;
  readonly #scenario: Pick<Scenario, 'hosts' | 'containers'>;
  readonly #path: Path;

  constructor(checking: Checking, scenario: Pick<Scenario, 'hosts' | 'containers'>, path: Path) {
    this.#checking = checking;
    this.#scenario = scenario;
    this.#path = path;
  }

  pair(kind: ReachClaim['kind'], from: string, to: string, answeredBy: string | undefined): ReachPair | undefined {
    const sender = this.#sender(from, 'from');
    const found = this.#target(to, sender);
    if (sender === undefined || found === undefined) return undefined;
    const answering = answeredBy === undefined ? undefined : this.#sender(answeredBy, 'answeredBy');
    const { target, by } = found;
    const asked = answering === undefined ? by : `${answering.host}/${answering.namespace}`;
    // Whoever else answers at such an address has been reached.
    return { from: sender, to: target, by: kind === 'cannotReach' && target.kind !== 'container' ? null : asked };
  }

  /** An address, or a host's. */
  address(text: string, key: string): Ipv4Address | undefined {
    const host = this.#host(text);
    if (host !== undefined) return addressOf(host);
    if (isAddress(text)) return text;
    this.#problem(key, text, 'host', this.#checking.hostNames);
    return undefined;
  }

  /** A container, a host, or `h1/n1`: a namespace that somebody makes by hand. */
  #sender(text: string, key: string): Sender | undefined {
    const [name = '', namespace] = text.split('/');
    const container = this.#container(name);
    const host = this.#host(name);
    if (namespace !== undefined && host !== undefined) return { text, host: name, namespace };
    if (container !== undefined && host !== undefined)
      this.#checking.problem([...this.#path, key], `"${name}" is both a host and a container: rename one`);
    if (container !== undefined) {
      this.#checkAttached(name, key);
      return { text, host: container.host, namespace: name };
    }
    if (host !== undefined) return { text, host: name, namespace: '' };
    this.#problem(key, name, 'container or host', [...this.#checking.containerNames, ...this.#checking.hostNames]);
    return undefined;
  }

  #target(text: string, from: Sender | undefined): { target: Target; by: string | null } | undefined {
    if (isAddress(text)) return { target: { kind: 'address', text, address: text }, by: null };
    const gateway = /^gateway\((.*)\)$/.exec(text)?.[1];
    if (gateway !== undefined) return this.#gateway(text, gateway, from);
    const [name = '', port] = text.split(':');
    if (port !== undefined) return this.#published(text, name, port);
    const [container = '', network] = text.split('@');
    if (this.#container(container) !== undefined) {
      const sender = this.#sender(container, 'to')!;
      if (network !== undefined && !this.#checking.isNetwork(network, [...this.#path, 'to'])) return undefined;
      const target: Target = { kind: 'container', text, container, ...(network !== undefined && { network }) };
      return { target, by: `${sender.host}/${sender.namespace}` };
    }
    const host = this.#host(text);
    if (host !== undefined) return { target: { kind: 'address', text, address: addressOf(host) }, by: `${text}/` };
    this.#problem('to', text, 'container or host', [...this.#checking.containerNames, ...this.#checking.hostNames]);
    return undefined;
  }

  /** Each host has its own, with the same address. */
  #gateway(text: string, network: string, from: Sender | undefined): { target: Target; by: string | null } | undefined {
    if (!this.#checking.isNetwork(network, [...this.#path, 'to'])) return undefined;
    const spec = this.#hosts[0]?.network?.networks.find(({ name }) => name === network);
    if (spec === undefined) return undefined;
    const address = this.#checking.rules.networkNames.gateway(spec);
    return { target: { kind: 'address', text, address }, by: from === undefined ? null : `${from.host}/` };
  }

  /** `h1:5353/udp`: whoever publishes it is to answer. Probes speak UDP alone. */
  #published(text: string, name: string, written: string): { target: Target; by: string | null } | undefined {
    const path = [...this.#path, 'to'];
    const host = this.#host(name);
    if (host === undefined) {
      this.#problem('to', name, 'host', this.#checking.hostNames);
      return undefined;
    }
    const [port = '', protocol = 'udp'] = written.split('/');
    const all = this.#publishedOn(name);
    const found = all.find((each) => each.port === Number(port) && each.protocol === protocol);
    if (found !== undefined && protocol === 'udp')
      return {
        target: { kind: 'address', text, address: addressOf(host), port: Number(port) },
        by: `${name}/${found.container}`,
      };
    const known = all.flatMap((each) => (each.protocol === 'udp' ? [`${each.port}/udp`] : []));
    this.#checking.problem(
      path,
      all.some((each) => each.port === Number(port))
        ? `probes speak UDP, and port ${port} of ${name} is published for TCP: publish '${port}:${port}/udp' too`
        : `nobody on ${name} publishes ${port}/udp: ${hint(`${port}/udp`, known)}`,
    );
    return undefined;
  }

  #publishedOn(host: string): { container: string; port: number; protocol: string }[] {
    const placed = this.#scenario.containers.flatMap(({ name, host: on, attachments = [] }) =>
      on === host ? attachments.map((attachment) => ({ container: name, attachment })) : [],
    );
    const later = this.#checking.written.timeline.flatMap(({ do: what }) =>
      what !== 'end' && what.attach !== undefined && this.#container(what.attach.container)?.host === host
        ? [what.attach]
        : [],
    );
    return [...placed, ...later].flatMap(({ container, attachment }) =>
      attachment.publish.map(({ hostPort, protocol }) => ({ container, port: hostPort, protocol })),
    );
  }

  #checkAttached(name: string, key: string): void {
    if ((this.#container(name)?.attachments ?? []).length === 0)
      this.#checking.problem(
        [...this.#path, key],
        `"${name}" is in no network: it shares that of its host, so name the host`,
      );
  }

  get #hosts(): readonly ScenarioHost[] {
    return this.#scenario.hosts.filter(({ uplink }) => uplink !== undefined);
  }

  #host(name: string): ScenarioHost | undefined {
    return this.#hosts.find((host) => host.name === name);
  }

  #container(name: string): Scenario['containers'][number] | undefined {
    return this.#scenario.containers.find((container) => container.name === name);
  }

  #problem(key: string, written: string, what: string, known: readonly string[]): void {
    this.#checking.problem([...this.#path, key], `there is no ${what} "${written}": ${hint(written, known)}`);
  }
}

const addressOf = ({ uplink }: ScenarioHost): Ipv4Address => uplink!.prefix.split('/')[0]!;

function isAddress(text: string): boolean {
  try {
    parseAddress(text);
    return true;
  } catch (error) {
    if (error instanceof AddressError) return false;
    throw error;
  }
}
