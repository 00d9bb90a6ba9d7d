import {
  elementKey,
  frameLines,
  type FirewallChange,
  type FirewallElement,
  type FirewallFrame,
  type FirewallSet,
  type FirewallState,
} from '../../src/host/firewall.ts';
import { checkElement, checkFrame, setKey } from '../../src/host/firewall-check.ts';

/** What is there of Plimsoll's, or is to be. */
export interface FirewallContents {
  /** Null: nothing. */
  readonly lines: readonly string[] | null;
  /** By `setKey`: those whose fields are known. */
  readonly sets: ReadonlyMap<string, FirewallSet>;
  /** By `placeOf`. */
  readonly elements: ReadonlyMap<string, FirewallElement>;
}

/** Nothing of ours. */
export const NOTHING: FirewallContents = { lines: null, sets: new Map(), elements: new Map() };

/** Where an element is, whatever it maps to. */
export const placeOf = ({ family, set, key }: FirewallElement): string => elementKey({ family, set, key });

/** What there is to be written: a frame in place of everything, or elements that come and go. */
export interface FirewallEdit {
  /** What a frame that was asked for is laid with; undefined where it stays as it is. */
  readonly frame?: FirewallFrame | null;
  readonly before: FirewallContents;
  readonly after: FirewallContents;
  /** The places of elements that may differ. */
  readonly touched: ReadonlySet<string>;
}

/** The beginning of an edit: nothing changes. */
export const unchanged = (contents: FirewallContents): FirewallEdit => ({
  before: contents,
  after: contents,
  touched: new Set(),
});

/** The edit with one change more. @throws HostError where the change cannot be made */
export function withChange(edit: FirewallEdit, { frame, add, remove }: FirewallChange): FirewallEdit {
  const after = frame === undefined ? edit.after : laid(frame);
  const elements = new Map(after.elements);
  const touched = new Set(edit.touched);
  for (const element of remove) {
    // What was put there by hand need not be of our making to be taken away.
    const isThere = elements.has(placeOf(element)) && after.sets.has(setKey({ ...element, name: element.set }));
    if (!isThere) checkElement(element, after.sets, 'remove');
    elements.delete(placeOf(element));
    touched.add(placeOf(element));
  }
  for (const element of add) {
    checkElement(element, after.sets, 'add');
    elements.set(placeOf(element), element);
    touched.add(placeOf(element));
  }
  return {
    ...edit,
    ...(frame === undefined ? {} : { frame }),
    after: { ...after, elements },
    touched,
  };
}

function laid(frame: FirewallFrame | null): FirewallContents {
  if (frame === null) return NOTHING;
  checkFrame(frame);
  return {
    lines: frameLines(frame),
    sets: new Map(frame.sets.map((set) => [setKey(set), set])),
    elements: new Map(),
  };
}

/** What has to go, and what has to come; one that is to map to something else does both. */
export function differences({ before, after, touched }: FirewallEdit): {
  readonly gone: readonly FirewallElement[];
  readonly come: readonly FirewallElement[];
} {
  const gone: FirewallElement[] = [];
  const come: FirewallElement[] = [];
  for (const place of touched) {
    const [was, is] = [before.elements.get(place), after.elements.get(place)];
    if (was?.value === is?.value && (was === undefined) === (is === undefined)) continue;
    if (was !== undefined) gone.push(was);
    if (is !== undefined) come.push(is);
  }
  return { gone, come };
}

/** As the port tells it: elements in order. */
export const stateOf = ({ lines, elements }: FirewallContents): FirewallState => ({
  frame: lines,
  elements: [...elements.keys()].sort().map((place) => elements.get(place)!),
});
