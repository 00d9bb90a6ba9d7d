import type { FirewallElement } from '../host/firewall.ts';
import type { LinkName } from '../host/links.ts';
import {
  CLASS_MINOR_MAX,
  heldClass,
  markOf,
  minorOf,
  type ShaperClass,
  type ShaperObject,
  type ShaperState,
} from '../host/shaper.ts';
import { classNumbers } from './classes.ts';
import { type EgressDesired, EgressError, type EgressRequest } from './desired.ts';

/** Where packets of a container come to the host's own stack, and with which source address. */
export interface EntryPort {
  readonly family: FirewallElement['family'];
  readonly port: string;
  readonly address: string;
}

/** A container with something asked, and its ways out. */
export interface ShapedContainer {
  readonly name: string;
  readonly egress: EgressRequest;
  /** These are marked here, and shaped where they leave the host. */
  readonly ports: readonly EntryPort[];
  /** Interfaces that are shaped within the container's namespace: those that pass the host by, or all where it is asked. */
  readonly within: readonly LinkName[];
  /** Its VFs, each of which keeps what is asked by itself. */
  readonly functions: readonly ShapingFunction[];
}

/** A VF that holds back what leaves by it. */
export interface ShapingFunction {
  readonly name: string;
  /** Its PF: all its VFs share one wire. */
  readonly card: string;
  /** Why it cannot keep this guarantee or ceiling; null: it can. */
  readonly refusal: string | null;
  /** What the wire carries; null: its PF does not tell. */
  readonly wireBitsPerSec: number | null;
}

/** What shaping a host's egress consists of. */
export interface EgressPicture {
  readonly objects: readonly ShaperObject[];
  readonly marks: readonly FirewallElement[];
}

/** What shapes a host's links now, and what its kernel has for it. */
export interface ShapingState extends ShaperState {
  readonly fairQueues: boolean;
}

export const NO_EGRESS: EgressPicture = { objects: [], marks: [] };

/** How that set names whose packets they are. */
export const markKey = ({ port, address }: Pick<EntryPort, 'port' | 'address'>): string => `${port} . ${address}`;

/** The set of the filter that maps a port of entry and a source address to a mark. */
export const MARKS = 'marks';

/** Minors: the uplink as a whole, what nobody marked, and from here on containers. */
const WHOLE = 1;
const REST = 2;
const FIRST = 3;

/** HTB knows no rate of nothing: a class without a guarantee is given a kilobyte a second, and borrows. */
const LEAST_BITS_PER_SEC = 8_000;

/**
 * What a host's shaping should look like. A container keeps the class that its packets are marked for (`marked`); a new one
 * gets the lowest that nothing on the host stands for. @throws EgressError where there are more containers than classes
 */
export function egressOf(
  containers: readonly ShapedContainer[],
  uplink: string | null,
  { uplinkBitsPerSec }: EgressDesired,
  marked: readonly FirewallElement[],
  { objects, fairQueues }: ShapingState,
): EgressPicture {
  const outward = uplink === null ? [] : containers.filter(({ ports }) => ports.length > 0);
  const minors = minorsOf(outward, marked, objects);
  const within = containers.flatMap((container) => withinOf(container, fairQueues));
  if (outward.length === 0 || uplink === null) return { objects: within, marks: [] };
  const at = { namespace: '', name: uplink } as const;
  const guaranteed = outward.reduce((sum, { egress }) => sum + (egress.guaranteeBitsPerSec ?? 0), 0);
  const shared: ShaperObject[] =
    uplinkBitsPerSec === undefined
      ? [{ ...at, kind: 'qdisc', defaultMinor: 0 }]
      : [
          { ...at, kind: 'qdisc', defaultMinor: REST },
          classOf(at, WHOLE, 0, uplinkBitsPerSec, uplinkBitsPerSec, false),
          classOf(
            at,
            REST,
            WHOLE,
            Math.max(LEAST_BITS_PER_SEC, uplinkBitsPerSec - guaranteed),
            uplinkBitsPerSec,
            fairQueues,
          ),
        ];
  return {
    objects: [
      ...shared,
      ...outward.map(({ name, egress }) => {
        const ceiling = egress.ceilingBitsPerSec ?? uplinkBitsPerSec!;
        const rate = Math.min(ceiling, egress.guaranteeBitsPerSec ?? LEAST_BITS_PER_SEC);
        // Nothing to borrow from where nobody said what the uplink carries: the ceiling is the rate.
        return uplinkBitsPerSec === undefined
          ? classOf(at, minors.get(name)!, 0, ceiling, ceiling, fairQueues)
          : classOf(at, minors.get(name)!, WHOLE, rate, ceiling, fairQueues);
      }),
      { ...at, kind: 'filter' },
      ...within,
    ],
    marks: outward.flatMap(({ name, ports }) =>
      ports.map(({ family, port, address }) => ({
        family,
        set: MARKS,
        key: markKey({ port, address }),
        value: markOf(minors.get(name)!),
      })),
    ),
  };
}

function classOf(
  at: LinkName,
  minor: number,
  parentMinor: number,
  rateBitsPerSec: number,
  ceilBitsPerSec: number,
  fairQueue: boolean,
): ShaperClass {
  const rates = { rateBitsPerSec, ceilBitsPerSec };
  // In the numbers that the kernel can hold: it would tell others of any but these.
  return heldClass({ ...at, kind: 'class', minor, parentMinor, ...rates, ...classNumbers(rates), fairQueue });
}

/** One class for all that leaves by the interface. */
const withinOf = ({ egress, within }: ShapedContainer, fairQueues: boolean): ShaperObject[] =>
  within.flatMap((link) => {
    const { ceilingBitsPerSec } = egress;
    if (ceilingBitsPerSec === undefined) return [];
    return [
      { ...link, kind: 'qdisc' as const, defaultMinor: WHOLE },
      classOf(link, WHOLE, 0, ceilingBitsPerSec, ceilingBitsPerSec, fairQueues),
    ];
  });

/** Which class is whose. */
function minorsOf(
  containers: readonly ShapedContainer[],
  marked: readonly FirewallElement[],
  objects: readonly ShaperObject[],
): Map<string, number> {
  const standing = new Map(
    marked.flatMap(({ family, set, key, value }) => {
      const minor = set === MARKS && value !== undefined ? minorOf(value) : null;
      return minor === null || minor < FIRST ? [] : [[`${family} ${key}`, minor] as const];
    }),
  );
  const minors = new Map<string, number>();
  const taken = new Set<number>();
  for (const { name, ports } of containers) {
    const minor = ports
      .map(({ family, port, address }) => standing.get(`${family} ${markKey({ port, address })}`))
      .find((found) => found !== undefined && !taken.has(found));
    if (minor === undefined) continue;
    minors.set(name, minor);
    taken.add(minor);
  }
  // What stands for somebody who is going is not given away in the same breath: his packets would be another's.
  for (const minor of standing.values()) taken.add(minor);
  for (const object of objects) if (object.kind === 'class' && object.namespace === '') taken.add(object.minor);
  let next = FIRST;
  for (const { name } of containers) {
    if (minors.has(name)) continue;
    while (taken.has(next)) next += 1;
    if (next > CLASS_MINOR_MAX)
      throw new EgressError(name, `the uplink has no class left: it holds ${CLASS_MINOR_MAX - FIRST + 1} containers`);
    minors.set(name, next);
    next += 1;
  }
  return minors;
}
