import type { Milliseconds } from '../host/units.ts';
import type { CardClaim, VfMeant, VfPlace } from './cards.ts';
import type { Checking } from './checking.ts';
import type { HostClaimWritten } from './host-claims.ts';
import { Ends } from './load-reach.ts';
import type { ReachPair } from './reach.ts';
import { knobsOf } from './network-fields.ts';
import type { Claim, Scenario } from './scenario.ts';
import type { Path } from './source.ts';
import { type ClassMeant, DEFAULT_CLASS, type TrafficClaim } from './traffic.ts';

/** What nobody gave a time is looked at so long before the end. */
const BEFORE_END_MS = 1000;

type Scope = Pick<Scenario, 'hosts' | 'containers' | 'endMs'>;
type Written<K extends HostClaimWritten['kind']> = Extract<HostClaimWritten, { kind: K }>;

/** The names of a claim looked up; undefined: a problem was told. */
export function hostClaimOf(
  checking: Checking,
  written: HostClaimWritten,
  scenario: Scope,
  path: Path,
): Claim | undefined {
  const lastsMs = written.kind === 'rate' || written.kind === 'packets' ? written.for : 0;
  const momentMs =
    ('at' in written ? written.at : undefined) ??
    (Math.max(0, scenario.endMs - BEFORE_END_MS - lastsMs) as Milliseconds);
  if (momentMs + lastsMs >= scenario.endMs && scenario.endMs > 0)
    checking.problem([...path, 'at'], 'it is not over when the scenario ends: put the end later');
  const host = (): string => checking.hostOf('host' in written ? written.host : undefined, [...path, 'host']);
  switch (written.kind) {
    case 'classified':
      return classifiedOf(checking, written, scenario, momentMs, path);
    case 'rate':
      return rateOf(checking, written, scenario, momentMs, path);
    case 'packets':
      return packetsOf(checking, written, scenario, momentMs, path);
    case 'vf':
      return vfOf(checking, written, scenario, momentMs, path);
    case 'vfsAsBefore':
      return {
        kind: 'vfsAsBefore',
        host: host(),
        momentMs,
        ...(written.pf !== undefined && { pf: written.pf }),
        ...(written.since !== undefined && { sinceMs: written.since }),
      };
    case 'distinctVfs':
      return { kind: 'distinctVfs', host: host(), ...(written.pf !== undefined && { pf: written.pf }) };
    case 'foreignQdisc':
      return { kind: 'foreignQdisc', host: host(), link: written.dev, handle: written.handle, momentMs };
  }
}

function classifiedOf(
  checking: Checking,
  { from, to, as, markedAs }: Written<'classified'>,
  scenario: Scope,
  momentMs: Milliseconds,
  path: Path,
): TrafficClaim | undefined {
  const pair = new Ends(checking, scenario, path).pair('reaches', from, to, undefined);
  const isContainer = as !== DEFAULT_CLASS && as !== 'none';
  if (isContainer) checking.isContainer(as, [...path, 'as']);
  if (markedAs !== undefined) checking.isContainer(markedAs, [...path, 'markedAs']);
  const uplink = scenario.hosts.find(({ name }) => name === pair?.from.host)?.uplink;
  if (pair !== undefined && uplink === undefined)
    checking.problem([...path, 'from'], `host ${pair.from.host} has no uplink on which anything could be counted`);
  if (pair === undefined) return undefined;
  const meant: ClassMeant = isContainer ? { container: as } : as === 'none' ? 'none' : 'default';
  return { kind: 'classified', pair, as: meant, momentMs, ...(markedAs !== undefined && { markedAs }) };
}

function rateOf(
  checking: Checking,
  { from, to, protocol, atLeast, atMost, sends, for: forMs }: Written<'rate'>,
  scenario: Scope,
  momentMs: Milliseconds,
  path: Path,
): TrafficClaim | undefined {
  const pair = pairTold(checking, from, to, scenario, path);
  if (pair === undefined) return undefined;
  return {
    kind: 'rate',
    pair,
    protocol,
    momentMs,
    forMs,
    ...(atLeast !== undefined && { atLeast }),
    ...(atMost !== undefined && { atMost }),
    ...(sends !== undefined && { sends }),
  };
}

function packetsOf(
  checking: Checking,
  { from, to, payload, atLeast, atMost, for: forMs }: Written<'packets'>,
  scenario: Scope,
  momentMs: Milliseconds,
  path: Path,
): TrafficClaim | undefined {
  const pair = pairTold(checking, from, to, scenario, path);
  if (pair === undefined) return undefined;
  return {
    kind: 'packets',
    pair,
    payloadBytes: payload,
    momentMs,
    forMs,
    ...(atLeast !== undefined && { atLeast }),
    ...(atMost !== undefined && { atMost }),
  };
}

/** Who sends to whom, where it is told who receives. */
function pairTold(checking: Checking, from: string, to: string, scenario: Scope, path: Path): ReachPair | undefined {
  const pair = new Ends(checking, scenario, path).pair('reaches', from, to, undefined);
  if (pair?.by !== null) return pair;
  checking.problem([...path, 'to'], `who receives is not told by "${to}": name a container or a host`);
  return undefined;
}

function vfOf(
  checking: Checking,
  written: Written<'vf'>,
  scenario: Scope,
  momentMs: Milliseconds,
  path: Path,
): CardClaim | undefined {
  const { container, network, pf, index, in: place, mac, host, kind: _, at: __, ...knobs } = written;
  const claim = (of: VfMeant, on: string): CardClaim => ({
    kind: 'vf',
    host: on,
    of,
    knobs: knobsOf(knobs),
    momentMs,
    ...(mac !== undefined && { mac }),
    ...(place !== undefined && { place: placeOf(place) }),
  });
  if (container === undefined) return claim({ pf: pf!, index: index! }, checking.hostOf(host, [...path, 'host']));
  if (!checking.isContainer(container, [...path, 'container'])) return undefined;
  const networks = networksOf(checking, scenario, container);
  const wanted = network ?? networks[0];
  const at = networks.indexOf(wanted ?? '');
  if (at < 0) {
    checking.problem(
      [...path, network === undefined ? 'container' : 'network'],
      `"${container}" is never attached to ${network ?? 'a network'}`,
    );
    return undefined;
  }
  return claim({ container, network: wanted!, link: `eth${at}` }, checking.hostOfContainer(container));
}

/** In order of its interfaces, those that come later too. */
const networksOf = (checking: Checking, { containers }: Scope, name: string): string[] => [
  ...(containers.find((each) => each.name === name)?.attachments ?? []).map(({ network }) => network),
  ...checking.written.timeline.flatMap(({ do: what }) =>
    what !== 'end' && what.attach?.container === name ? [what.attach.attachment.network] : [],
  ),
];

const placeOf = (place: string): VfPlace =>
  place === 'nowhere' || place === 'unbound' ? place : { namespace: place === 'host' ? '' : place };
