import { HostError, type Errno } from '../../src/host/errors.ts';
import type { LinkName } from '../../src/host/links.ts';
import {
  CLASS_MINOR_MAX,
  heldClass,
  SHAPER_MAJOR,
  type Shaper,
  type ShaperClass,
  shaperKey,
  type ShaperObject,
  type ShaperQdisc,
} from '../../src/host/shaper.ts';
import { inOrder } from './batch.ts';
import type { HostNetwork, Link } from './network.ts';
import { Htb, type HtbClass } from './qdisc.ts';

/** Classes one under another (TC_HTB_MAXDEPTH: include/uapi/linux/pkt_sched.h). */
const DEPTH_MAX = 8;

/** Queueing disciplines, classes and filters of the model. */
export const createShaper = (host: HostNetwork): Shaper => ({
  add: (objects) =>
    inOrder(objects, (object) => {
      add(host, object);
      host.network.changed();
    }),
  remove: (objects) =>
    inOrder(objects, (object) => {
      remove(host, object);
      host.network.changed();
    }),
  async list(links) {
    const found = linksOf(host, links);
    return {
      objects: found
        .flatMap(objectsOf)
        .map((object) => ({ object, key: shaperKey(object) }))
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .map(({ object }) => object),
      foreign: found.flatMap(({ link, at }) =>
        link.qdisc === null || link.qdisc instanceof Htb ? [] : [{ ...at, ...link.qdisc }],
      ),
    };
  },
  hasFairQueues: async () => host.hasFairQueues,
  async counters(links) {
    host.network.traffic.settle();
    return linksOf(host, links).flatMap(({ link, at }) =>
      link.qdisc instanceof Htb
        ? [...link.qdisc.classes.values()]
            .sort((a, b) => a.numbers.minor - b.numbers.minor)
            .map(({ numbers: { minor }, sentBytes, sentPackets, droppedPackets }) => ({
              ...at,
              minor,
              sentBytes,
              sentPackets,
              droppedPackets,
            }))
        : [],
    );
  },
});

interface FoundLink {
  readonly link: Link;
  readonly at: LinkName;
}

const find = ({ spaces }: HostNetwork, { namespace, name }: LinkName): Link | undefined =>
  spaces.get(namespace)?.links.get(name);

/** Those that are there, each once, in order of namespace and name. */
function linksOf(host: HostNetwork, names: readonly LinkName[]): FoundLink[] {
  const links = new Set(names.map((name) => find(host, name)).filter((link) => link !== undefined));
  return [...links]
    .map((link) => ({ link, at: { namespace: link.space.name, name: link.name } }))
    .sort(({ at: a }, { at: b }) =>
      a.namespace < b.namespace || (a.namespace === b.namespace && a.name < b.name) ? -1 : 1,
    );
}

function objectsOf({ link: { qdisc }, at }: FoundLink): ShaperObject[] {
  if (!(qdisc instanceof Htb)) return [];
  return [
    { kind: 'qdisc', ...at, defaultMinor: qdisc.defaultMinor },
    ...Array.from(qdisc.classes.values(), ({ numbers }) => ({ ...numbers, ...at })),
    ...(qdisc.hasFilter ? [{ kind: 'filter' as const, ...at }] : []),
  ];
}

type Refuse = (code: Errno, detail: string) => never;

const refusing =
  (verb: 'add' | 'remove', object: ShaperObject): Refuse =>
  (code, detail) => {
    throw new HostError(code, `shaper.${verb}`, shaperKey(object), { detail });
  };

function add(host: HostNetwork, object: ShaperObject): void {
  const refuse = refusing('add', object);
  const link = find(host, object) ?? refuse('ENODEV', 'no such link or namespace');
  if (object.kind === 'qdisc') return addQdisc(link, object, refuse);
  const { qdisc } = link;
  if (!(qdisc instanceof Htb)) return refuse('ENOENT', `the link has no qdisc ${HANDLE}`);
  if (object.kind === 'class') addClass(qdisc, object, refuse);
  else qdisc.hasFilter = true;
}

const HANDLE = `${SHAPER_MAJOR.toString(16)}:`;
const classId = (minor: number): string => `${HANDLE}${minor === 0 ? '' : minor.toString(16)}`;
const isMinor = (minor: number): boolean => Number.isInteger(minor) && minor >= 0 && minor <= CLASS_MINOR_MAX;

function addQdisc(link: Link, { defaultMinor }: ShaperQdisc, refuse: Refuse): void {
  if (!isMinor(defaultMinor)) refuse('ERANGE', `its default is none of 0 to ${CLASS_MINOR_MAX}`);
  const { qdisc: is } = link;
  if (is === null) link.qdisc = new Htb(defaultMinor);
  else if (!(is instanceof Htb)) refuse('EEXIST', `${is.type} ${is.handle} is there, which is somebody else's`);
  else if (is.defaultMinor !== defaultMinor) refuse('EEXIST', `it has another default, ${classId(is.defaultMinor)}`);
}

function addClass({ classes }: Htb, wanted: ShaperClass, refuse: Refuse): void {
  checkClass(wanted, refuse);
  const { minor, parentMinor } = wanted;
  const parent =
    parentMinor === 0 ? null : (classes.get(parentMinor) ?? refuse('ENOENT', `no ${classId(parentMinor)}`));
  const is = classes.get(minor);
  if (is === undefined) return addNew(classes, heldClass(wanted), parent, refuse);
  if (is.parent !== parent) refuse('EEXIST', `it is under ${classId(is.numbers.parentMinor)}`);
  if (is.childCount > 0 && wanted.fairQueue) refuse('EINVAL', 'classes are under it: nothing waits in it');
  if (is.childCount > 0 && wanted.quantumBytes !== is.numbers.quantumBytes)
    refuse('EBUSY', 'classes are under it: its quantum stays as it is');
  is.numbers = heldClass(wanted);
}

function checkClass(wanted: ShaperClass, refuse: Refuse): void {
  const { minor, parentMinor, rateBitsPerSec, ceilBitsPerSec, burstBytes, ceilBurstBytes, quantumBytes } = wanted;
  if (minor === 0 || !isMinor(minor) || !isMinor(parentMinor)) refuse('ERANGE', `minors are 1 to ${CLASS_MINOR_MAX}`);
  // A byte a second.
  if (!(rateBitsPerSec >= 8 && ceilBitsPerSec >= rateBitsPerSec))
    refuse('EINVAL', 'the least rate is 8 bit/s, and a ceiling is not below the rate');
  if (![burstBytes, ceilBurstBytes, quantumBytes].every((bytes) => bytes > 0))
    refuse('EINVAL', 'bursts and quantum are of a byte at least');
}

function addNew(classes: Map<number, HtbClass>, numbers: ShaperClass, parent: HtbClass | null, refuse: Refuse): void {
  let depth = 1;
  for (let at = parent; at !== null; at = at.parent) depth++;
  if (depth > DEPTH_MAX) refuse('EINVAL', `no more than ${DEPTH_MAX} classes are one under another`);
  classes.set(numbers.minor, { numbers, parent, childCount: 0, sentBytes: 0, sentPackets: 0, droppedPackets: 0 });
  if (parent === null) return;
  parent.childCount++;
  // With its first child a class loses the queue that it had (htb_change_class).
  parent.numbers = { ...parent.numbers, fairQueue: false };
}

function remove(host: HostNetwork, object: ShaperObject): void {
  const link = find(host, object);
  const qdisc = link?.qdisc;
  if (link === undefined || !(qdisc instanceof Htb)) return;
  if (object.kind === 'qdisc') link.qdisc = null;
  else if (object.kind === 'filter') qdisc.hasFilter = false;
  else removeClass(qdisc, object);
}

function removeClass({ classes }: Htb, object: ShaperClass): void {
  const is = classes.get(object.minor);
  if (is === undefined) return;
  if (is.childCount > 0) refusing('remove', object)('EBUSY', 'classes are under it');
  classes.delete(object.minor);
  if (is.parent !== null) is.parent.childCount--;
}
