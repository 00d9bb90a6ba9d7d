import { elementKey, frameLines } from '../host/firewall.ts';
import {
  LINK_NAME_LENGTH_MAX,
  type LinkName,
  type LinkSettings,
  type LinkSpec,
  type LinkState,
} from '../host/links.ts';
import { entryKey, type RoutingEntry } from '../host/routing.ts';
import { samePlainData } from '../host/same.ts';
import type { PhasedPlan, Stage, Step } from '../host/steps.ts';
import { type FunctionSteps, linkKey as keyOf, planFunctions } from './functions-plan.ts';
import { isOurs } from './names.ts';
import type { NetworkObserved } from './observe.ts';
import type { Picture, PictureLink } from './picture.ts';
import { isTableOfOurs } from './segment.ts';

/**
 * From what is to the picture. Coming: the filter before any link, links before they are up, addresses before routes.
 * Going: links before the filter that held them back. What somebody changed by hand is found by the same comparison.
 */
export function planNetwork(whole: Picture, observed: NetworkObserved, between: Between = NOTHING): PhasedPlan {
  const functions = planFunctions(whole.functions, observed.functions, observed.unseen ?? NOWHERE);
  const picture = thereOf(seenOf(whole, observed), functions);
  const links = compareLinks(picture, observed);
  const entries = compareEntries(picture, observed, links);
  const firewall = compareFirewall(picture, observed);
  const namespaces = new Set(observed.namespaces);
  const kept = new Set(picture.namespaces);
  // What containers share on a host comes before what each has for itself: bridges, tunnels, the uplink.
  const shared = new Set(picture.links.filter(isShared).map(keyOf));
  const coming = (inHost: boolean): Step[][] => {
    const here = (entry: RoutingEntry): boolean =>
      (entry.kind !== 'rule' && shared.has(keyOf({ namespace: entry.namespace, name: entry.link }))) === inHost;
    return [
      links.made
        .filter((link) => isShared(link) === inHost)
        .map((link): Step => ({ verb: 'links.create', with: specOf(link), why: link.why })),
      links.changed
        .filter(({ link }) => isShared(link) === inHost)
        .map(({ link, set }): Step => ({
          verb: 'links.set',
          with: { namespace: link.namespace, name: link.name, set },
          why: link.why,
        })),
      entries.added.filter((entry) => entry.kind !== 'route' && here(entry)).map(addStep),
      entries.added.filter((entry) => entry.kind === 'route' && here(entry)).map(addStep),
    ];
  };
  const [made = [], ...used] = coming(false);
  return {
    detach: [
      // First of all, so that a VF is back before its namespace goes.
      functions.unbind,
      entries.removed.map((entry): Step => ({ verb: 'routing.remove', with: entry, why: 'nobody asks for it' })),
      links.removed.map(({ namespace, name, why }): Step => ({ verb: 'links.remove', with: { namespace, name }, why })),
      observed.namespaces
        .filter((name) => !kept.has(name))
        .map((name): Step => ({ verb: 'namespaces.remove', with: name, why: 'nobody asks for it' })),
      firewall.closing,
      ...between.closing,
    ],
    machine: [[...firewall.opening, ...functions.enable], functions.set, ...coming(true), ...between.opening],
    attach: [
      picture.namespaces
        .filter((name) => !namespaces.has(name))
        .map((name): Step => ({ verb: 'namespaces.create', with: name, why: 'a container lives in it' })),
      [...functions.bind, ...functions.move],
      made,
      ...between.within,
      ...used,
      announced(picture, entries.added),
    ],
  };
}

/** What is asked of where it was looked. */
function seenOf(picture: Picture, { unseen = new Set() }: NetworkObserved): Picture {
  if (unseen.size === 0) return picture;
  const isSeen = ({ namespace }: { readonly namespace: string }): boolean => !unseen.has(namespace);
  return { ...picture, links: picture.links.filter(isSeen), entries: picture.entries.filter(isSeen) };
}

const NOWHERE: ReadonlySet<string> = new Set();

/** What another subsystem does between: after containers' links are gone; when the host's are there; before containers' are up. */
export interface Between {
  readonly closing: readonly Stage[];
  readonly opening: readonly Stage[];
  readonly within: readonly Stage[];
}

const NOTHING: Between = { closing: [], opening: [], within: [] };

/** Links of VFs that are wanted and not there yet, nor after the next plan's moves: nothing of them can be set. */
export function awaitedLinks(picture: Picture, { functions, unseen = NOWHERE }: NetworkObserved): ReadonlySet<string> {
  const { there } = planFunctions(picture.functions, functions, unseen);
  return absentOf(picture, there);
}

const absentOf = ({ links, functions }: Picture, there: ReadonlySet<string>): ReadonlySet<string> =>
  new Set(
    [...links.filter(({ kind }) => kind?.type === 'vf'), ...functions.links]
      .map(keyOf)
      .filter((key) => !there.has(key)),
  );

/** What is asked of VFs' links waits until they are there: they come by a bind, under whatever name. */
function thereOf(picture: Picture, { there }: FunctionSteps): Picture {
  const absent = absentOf(picture, there);
  if (absent.size === 0) return picture;
  return {
    ...picture,
    links: picture.links.filter((link) => !absent.has(keyOf(link))),
    entries: picture.entries.filter(
      (entry) => entry.kind === 'rule' || !absent.has(keyOf({ namespace: entry.namespace, name: entry.link })),
    ),
  };
}

/** Whoever knew an address elsewhere is told where it is now. */
const announced = ({ announcements }: Picture, added: readonly RoutingEntry[]): Step[] =>
  announcements
    .filter(({ namespace, link, address }) =>
      added.some(
        (entry) =>
          entry.namespace === namespace &&
          ((entry.kind === 'address' && entry.link === link && entry.prefix.split('/')[0] === address) ||
            (entry.kind === 'proxy' && entry.link === link && entry.address === address)),
      ),
    )
    .map((announcement): Step => ({ verb: 'routing.announce', with: announcement, why: 'it is here now' }));

const isShared = ({ namespace, kind }: PictureLink): boolean =>
  namespace === '' && (kind === undefined || kind.type === 'bridge' || kind.type === 'vxlan');

const addStep = (entry: RoutingEntry): Step => ({ verb: 'routing.add', with: entry, why: 'asked for' });

interface LinkDifference {
  readonly made: readonly PictureLink[];
  readonly changed: readonly { readonly link: PictureLink; readonly set: LinkSettings }[];
  readonly removed: readonly (LinkName & { readonly why: string })[];
  /** There already, and staying. */
  readonly staying: ReadonlySet<string>;
}

function compareLinks({ links, namespaces }: Picture, observed: NetworkObserved): LinkDifference {
  const is = new Map(observed.links.map((link) => [keyOf(link), link]));
  const wanted = new Map(links.map((link) => [keyOf(link), link]));
  const ownNamespaces = new Set(observed.namespaces);
  const kept = new Set(namespaces);
  // In a container's namespace too others may have links: its own tunnels, and those that the kernel puts into each.
  const foreign = (link: LinkState): boolean =>
    link.type === 'loopback' || !(isOurs(link) || (ownNamespaces.has(link.namespace) && wanted.has(keyOf(link))));

  // A pair of which one end is missing or wrong is made anew, whole.
  const broken = new Set<string>();
  for (const link of links) {
    const { kind } = link;
    if (kind === undefined || kind.type === 'vf') continue;
    const peer = kind.type === 'veth' && !observed.unseen?.has(kind.peer.namespace) ? kind.peer : null;
    const ends = peer === null ? [keyOf(link)] : [keyOf(link), keyOf(peer)];
    // An interface's name may be that of another network's a moment ago: by its mark it is known whose end it is.
    const isWhole =
      ends.every((end) => is.has(end)) &&
      isOfKind(is.get(keyOf(link))!, link) &&
      (peer === null || is.get(keyOf(peer))!.alias === peer.alias);
    if (!isWhole) for (const end of ends) broken.add(end);
  }

  const removed = observed.links
    // The link of a VF goes with its driver, not by being deleted.
    .filter((link) => !foreign(link) && link.device === undefined)
    // A namespace that goes takes its links with it, and their other ends.
    .filter((link) => !(ownNamespaces.has(link.namespace) && !kept.has(link.namespace)))
    .flatMap((link) => {
      const want = wanted.get(keyOf(link));
      if (want === undefined) return [{ namespace: link.namespace, name: link.name, why: 'nobody asks for it' }];
      return broken.has(keyOf(link))
        ? [{ namespace: link.namespace, name: link.name, why: 'not as it should be' }]
        : [];
    });

  const staying = new Set([...is.keys()].filter((key) => wanted.has(key) && !broken.has(key)));
  return {
    made: links.filter((link) => link.kind !== undefined && link.kind.type !== 'vf' && broken.has(keyOf(link))),
    changed: links.flatMap((link) => {
      const now = staying.has(keyOf(link)) ? is.get(keyOf(link)) : undefined;
      // The host's own link that is not there is told where the uplink is looked for.
      if (now === undefined && link.kind === undefined && link.namespace === '') return [];
      const set = now === undefined ? link.settings : differing(link.settings, now);
      return Object.keys(set).length === 0 ? [] : [{ link, set }];
    }),
    removed,
    staying,
  };
}

function isOfKind(link: LinkState, { kind }: PictureLink): boolean {
  if (kind === undefined || link.type !== kind.type) return false;
  return kind.type !== 'vxlan' || (link.vni === kind.vni && link.local === kind.local && link.udpPort === kind.udpPort);
}

const differing = (wanted: LinkSettings, is: LinkState): LinkSettings =>
  Object.fromEntries(
    Object.entries(wanted).filter(([setting, value]) => !samePlainData(is[setting as keyof LinkSettings], value)),
  );

/** A new link is made with its MAC and MTU at once: packets never leave with others. */
function specOf({ namespace, name, kind, settings }: PictureLink): LinkSpec {
  if (name.length > LINK_NAME_LENGTH_MAX) throw new RangeError(`${name} is longer than a link's name may be`);
  const { alias = '', mac, mtu } = settings;
  if (kind === undefined || kind.type === 'vf') throw new TypeError(`${name} is not made`);
  return { namespace, name, kind, alias, ...(mac !== undefined && { mac }), ...(mtu !== undefined && { mtu }) };
}

function compareEntries(
  { entries, links, namespaces }: Picture,
  observed: NetworkObserved,
  { staying }: LinkDifference,
): { readonly added: readonly RoutingEntry[]; readonly removed: readonly RoutingEntry[] } {
  const wanted = new Map(entries.map((entry) => [entryKey(entry), entry]));
  const kept = new Set(namespaces);
  const ownNamespaces = new Set(observed.namespaces);
  const ownLinks = new Set(links.filter(({ kind, namespace }) => kind !== undefined || namespace !== '').map(keyOf));
  const remains = (entry: RoutingEntry): boolean =>
    entry.kind === 'rule'
      ? kept.has(entry.namespace) || !ownNamespaces.has(entry.namespace)
      : staying.has(keyOf({ namespace: entry.namespace, name: entry.link })) || isOfLoopback(entry);
  const loopbacks = new Set(observed.links.filter(({ type }) => type === 'loopback').map(keyOf));
  /** A route by `lo` in a namespace of ours stands in the place of one of ours. */
  const isOfLoopback = ({ namespace, link }: Exclude<RoutingEntry, { readonly kind: 'rule' }>): boolean =>
    kept.has(namespace) && ownNamespaces.has(namespace) && loopbacks.has(keyOf({ namespace, name: link }));
  const is = new Set(observed.entries.filter(remains).map(entryKey));
  /** What stands on a link that is not ours is ours only where nobody else makes such: a proxy entry on the uplink. */
  const isOfOurs = (entry: RoutingEntry): boolean =>
    entry.kind === 'proxy' ||
    (entry.kind === 'rule'
      ? ownNamespaces.has(entry.namespace) || isTableOfOurs(entry.table)
      : isOfLoopback(entry) || ownLinks.has(keyOf({ namespace: entry.namespace, name: entry.link })));
  return {
    added: [...wanted.values()].filter((entry) => !is.has(entryKey(entry))),
    removed: observed.entries.filter(
      (entry) => isOfOurs(entry) && !wanted.has(entryKey(entry)) && (entry.kind === 'proxy' || remains(entry)),
    ),
  };
}

function compareFirewall(
  { frame, elements }: Picture,
  { firewall }: NetworkObserved,
): { readonly opening: readonly Step[]; readonly closing: readonly Step[] } {
  if (frame === null)
    return {
      opening: [],
      closing:
        firewall.frame === null
          ? []
          : [{ verb: 'firewall.apply', with: { frame: null, add: [], remove: [] }, why: 'no network is left' }],
    };
  const lines = frameLines(frame);
  if (firewall.frame === null || !samePlainData(firewall.frame, lines))
    return {
      opening: [
        {
          verb: 'firewall.apply',
          with: { frame, add: elements, remove: [] },
          why:
            firewall.frame === null ? 'what passes between networks, and what does not' : 'somebody changed the filter',
        },
      ],
      closing: [],
    };
  const is = new Set(firewall.elements.map(elementKey));
  const wanted = new Map(elements.map((each) => [elementKey(each), each]));
  const add = [...wanted].flatMap(([key, each]) => (is.has(key) ? [] : [each]));
  const remove = firewall.elements.filter((each) => !wanted.has(elementKey(each)));
  return {
    opening: add.length === 0 ? [] : [{ verb: 'firewall.apply', with: { add, remove: [] }, why: 'asked for' }],
    closing:
      remove.length === 0 ? [] : [{ verb: 'firewall.apply', with: { add: [], remove }, why: 'nobody asks for it' }],
  };
}
