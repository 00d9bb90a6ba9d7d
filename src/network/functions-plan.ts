import type { NamespaceName } from '../host/namespaces.ts';
import type { LinkMove, LinkName } from '../host/links.ts';
import type { Step } from '../host/steps.ts';
import { type FoundFunctions, vfKey, type VfKnobs, type VirtualFunction } from '../host/virtual-functions.ts';
import { passingName } from './names.ts';
import { NO_MAC, type PictureFunctions, type PictureVf } from './sriov.ts';

/** What is to be done with a host's functions, in this order. */
export interface FunctionSteps {
  readonly unbind: readonly Step[];
  readonly enable: readonly Step[];
  readonly set: readonly Step[];
  readonly bind: readonly Step[];
  readonly move: readonly Step[];
  /** Where a VF's link is, or will be after these moves: elsewhere nothing of it can be set yet. */
  readonly there: ReadonlySet<string>;
}

export const linkKey = ({ namespace, name }: LinkName): string => `${namespace}\n${name}`;

/**
 * From what is to the picture. A VF is reset through its PF before its link goes anywhere: without its driver it is set, and
 * comes back with its new MAC; a MAC that is given to a bound VF does not take. What a bind brings is seen in the next round,
 * under whatever name it came.
 */
export function planFunctions(
  picture: PictureFunctions,
  found: FoundFunctions,
  unseen: ReadonlySet<NamespaceName>,
): FunctionSteps {
  const is = new Map(found.virtual.map((vf) => [vfKey(vf), vf]));
  const cards = new Map(found.physical.map((card) => [card.pf, card]));
  // A card that is told another number has other VFs after that: nothing is done with these.
  const renumbered = new Set(
    picture.pfs.filter(({ pf, count }) => cards.get(pf)?.vfCount !== count).map(({ pf }) => pf),
  );
  const pairs = untangled(
    picture.vfs.flatMap((wanted): Pair[] => {
      const vf = renumbered.has(wanted.pf) ? undefined : is.get(vfKey(wanted));
      return vf === undefined ? [] : [{ wanted, vf, ...compare(wanted, vf, unseen) }];
    }),
  );
  const name = ({ pf, index }: PictureVf) => ({ pf, index });
  const moves = pairs.flatMap(({ wanted, move }) => (move === null ? [] : [{ wanted, move }]));
  return {
    unbind: pairs
      .filter(({ unbinds }) => unbinds)
      .map(({ wanted }): Step => ({ verb: 'virtualFunctions.unbind', with: name(wanted), why: wanted.why })),
    enable: picture.pfs
      .filter(({ pf, count, autoprobe }) => {
        const card = cards.get(pf);
        return card !== undefined && (card.vfCount !== count || card.autoprobe !== autoprobe);
      })
      .map(({ pf, count, autoprobe, why }): Step => ({
        verb: 'virtualFunctions.enable',
        with: { pf, count, autoprobe },
        why,
      })),
    set: pairs
      .filter(({ set }) => Object.keys(set).length > 0)
      .map(({ wanted, set }): Step => ({
        verb: 'virtualFunctions.set',
        with: { ...name(wanted), set },
        why: wanted.why,
      })),
    bind: pairs
      .filter(({ binds }) => binds)
      .map(({ wanted }): Step => ({ verb: 'virtualFunctions.bind', with: name(wanted), why: wanted.why })),
    move: moves.map(({ wanted, move }): Step => ({ verb: 'links.move', with: move, why: wanted.why })),
    there: new Set(
      pairs.flatMap(({ wanted, vf, unbinds, move }) =>
        wanted.link == null ||
        unbinds ||
        vf.driver === null ||
        (move !== null && linkKey(move.to) !== linkKey(wanted.link))
          ? []
          : [linkKey(wanted.link)],
      ),
    ),
  };
}

/** Two that are to change places cannot move one after the other: whoever's place is taken steps aside, and moves on in the next round. */
function untangled(pairs: readonly Pair[]): readonly Pair[] {
  const places = new Set(pairs.flatMap(({ vf, unbinds }) => (vf.link === null || unbinds ? [] : [linkKey(vf.link)])));
  return pairs.map((pair) => {
    const { move, wanted } = pair;
    if (move === null || !places.has(linkKey(move.to))) return pair;
    return { ...pair, move: { ...move, to: { namespace: move.namespace, name: passingName(vfKey(wanted)) } } };
  });
}

/** A VF as it is to be, as it is, and what is to be done. */
interface Pair extends Difference {
  readonly wanted: PictureVf;
  readonly vf: VirtualFunction;
}

interface Difference {
  readonly unbinds: boolean;
  readonly set: Partial<VfKnobs>;
  readonly binds: boolean;
  readonly move: LinkMove | null;
}

function compare({ knobs, link }: PictureVf, vf: VirtualFunction, unseen: ReadonlySet<NamespaceName>): Difference {
  const set: Partial<VfKnobs> = Object.fromEntries(
    Object.entries(knobs).filter(([knob, value]) => vf[knob as keyof VfKnobs] !== value),
  );
  const isBound = vf.driver !== null;
  const isHidden = isBound && vf.link === null && !(link != null && unseen.has(link.namespace));
  // A link that somebody gave to another namespace is fetched without a look into it.
  const isAstray =
    vf.link !== null && vf.link.namespace !== '' && link !== null && vf.link.namespace !== link?.namespace;
  const takesMac = knobs.mac !== undefined && knobs.mac !== NO_MAC;
  const hasOtherMac = isBound && takesMac && vf.linkMac !== null && vf.linkMac !== knobs.mac;
  const unbinds = isBound && (link === null || isHidden || isAstray || hasOtherMac || set.mac !== undefined);
  const staysBound = isBound && !unbinds;
  const isElsewhere = link != null && vf.link !== null && linkKey(vf.link) !== linkKey(link);
  return {
    unbinds,
    set,
    binds: link !== null && !staysBound,
    move: staysBound && isElsewhere ? { ...vf.link, to: link } : null,
  };
}
