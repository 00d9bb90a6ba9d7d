import type { LinkName } from '../../src/host/links.ts';
import { makePlace, type NicPlace } from './place.ts';
import { PARTS, type PathSpec, SHOWN } from './paths.ts';
import { undoAll } from './undo.ts';

/** Where a bench is held: what paths there can be, each laid when it is asked for. */
export interface NicSite {
  /** What people choose between. */
  readonly shown: readonly PathSpec[];
  /** What tells the cost of each part. */
  readonly parts: readonly PathSpec[];
  /** The card whose wire it is; null: it has a wire of its own. */
  readonly card: LinkName | null;
  /** The same until another is asked for, and perhaps longer. @throws HostError, Error */
  place(path: PathSpec): Promise<NicPlace>;
  close(): Promise<void>;
}

/** On a wire of the machine's own: every path has a host to itself, and all of them stand beside each other. */
export function ownSite(containers: number): NicSite {
  const places = new Map<PathSpec, NicPlace>();
  return {
    card: null,
    shown: SHOWN,
    parts: PARTS,
    place: async (path) => {
      const there = places.get(path);
      if (there !== undefined) return there;
      const place = await makePlace(path, containers);
      places.set(path, place);
      return place;
    },
    close: () => undoAll([...places.values()].map((place) => () => place.close())),
  };
}
