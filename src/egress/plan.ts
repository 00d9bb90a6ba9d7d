import { samePlainData } from '../host/same.ts';
import { type ShaperObject, shaperKey, type ShaperState } from '../host/shaper.ts';
import type { Stage, Step } from '../host/steps.ts';

/** What is to be done, by when: after what is shaped has gone; before it comes; in its namespace, before it is up. */
export interface EgressPlan {
  readonly closing: readonly Stage[];
  readonly opening: readonly Stage[];
  readonly within: readonly Stage[];
}

/** From what is to what should be; marks are elements of the filter, and come and go with it. */
export function planEgress(wanted: readonly ShaperObject[], observed: ShaperState): EgressPlan {
  const is = new Map(observed.objects.map((object) => [shaperKey(object), object]));
  const asked = new Map(wanted.map((object) => [shaperKey(object), object]));
  // A qdisc takes all in it along, and with another default it is laid anew.
  const going = observed.objects.filter(
    (object) => object.kind === 'qdisc' && !samePlainData(asked.get(shaperKey(object)), object),
  );
  const gone = new Set(going.map(placeOf));
  const removed = observed.objects.filter(
    (object) => object.kind !== 'qdisc' && !gone.has(placeOf(object)) && !isKept(object, asked.get(shaperKey(object))),
  );
  const added = wanted.filter(
    (object) => gone.has(placeOf(object)) || !samePlainData(is.get(shaperKey(object)), object),
  );
  const adding = (objects: readonly ShaperObject[]): Step[] =>
    objects.map((object) => ({ verb: 'shaper.add', with: object, why: 'asked for' }));
  const removing = (objects: readonly ShaperObject[]): Step[] =>
    objects.map((object) => ({ verb: 'shaper.remove', with: object, why: 'nobody asks for it' }));
  const inHost = ({ namespace }: ShaperObject): boolean => namespace === '';
  const anew = (object: ShaperObject): boolean => asked.has(shaperKey(object));
  return {
    // Leaves before what they hang on.
    closing: [removing(removed.toReversed()), removing(going.filter((object) => !anew(object)))],
    // What is laid anew is gone for as short as can be.
    opening: [removing(going.filter(anew)), adding(inOrder(added.filter(inHost)))],
    within: [adding(inOrder(added.filter((object) => !inHost(object))))],
  };
}

const placeOf = ({ namespace, name }: ShaperObject): string => `${namespace}\n${name}`;

/** A class takes other rates in place, but never another parent. */
const isKept = (is: ShaperObject, wanted: ShaperObject | undefined): boolean =>
  wanted !== undefined && (is.kind !== 'class' || (wanted.kind === 'class' && wanted.parentMinor === is.parentMinor));

/** A qdisc before its classes, inner classes before those under them, the filter last: a batch is taken in its order. */
function inOrder(objects: readonly ShaperObject[]): ShaperObject[] {
  const rank = (object: ShaperObject): number =>
    object.kind === 'qdisc' ? 0 : object.kind === 'filter' ? 3 : object.parentMinor === 0 ? 1 : 2;
  return objects.toSorted((a, b) => rank(a) - rank(b));
}
