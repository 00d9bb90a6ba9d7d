import type { FunctionsObservation, Observation } from '../engine/observation.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import { samePlainData } from '../host/same.ts';
import type { Milliseconds } from '../host/units.ts';
import { vfKey, type VfKnobs, type VfName, type VirtualFunction } from '../host/virtual-functions.ts';

/** Which VF: the one that is a container's interface, or one of a card by its number. */
export type VfMeant =
  | { readonly container: string; readonly network: string; readonly link: string }
  | (VfName & { readonly container?: undefined });

/** Where a VF is to be: in a namespace, bound and nowhere that anybody sees, or bound to no driver. */
export type VfPlace = { readonly namespace: NamespaceName } | 'nowhere' | 'unbound';

/** What is claimed of a host's cards. */
export type CardClaim =
  | {
      readonly kind: 'vf';
      readonly host: string;
      readonly of: VfMeant;
      readonly knobs: Partial<Omit<VfKnobs, 'mac'>>;
      /** What its PF gives it; `lease`: that of the container's address, and its link has it. */
      readonly mac?: string;
      readonly place?: VfPlace;
      readonly momentMs: Milliseconds;
    }
  /** Every VF is as it was, and nothing is written down of any. Since the beginning unless set. */
  | {
      readonly kind: 'vfsAsBefore';
      readonly host: string;
      readonly pf?: string;
      readonly sinceMs?: Milliseconds;
      readonly momentMs: Milliseconds;
    }
  /** Whenever it was looked: no MAC is two VFs'. */
  | { readonly kind: 'distinctVfs'; readonly host: string; readonly pf?: string }
  | {
      readonly kind: 'foreignQdisc';
      readonly host: string;
      readonly link: string;
      readonly handle: string;
      readonly momentMs: Milliseconds;
    };

interface Judged {
  readonly held: boolean;
  readonly detail: string;
}

/** Judges what is claimed of cards by what was seen of them. */
export function judgeCards(claim: CardClaim, observations: readonly Observation[]): Judged {
  const own = observations.filter(({ host }) => host === undefined || host === claim.host);
  const looks = own.filter((each) => each.kind === 'functions');
  switch (claim.kind) {
    case 'vf':
      return judgeVf(claim, at(looks, claim.momentMs), own);
    case 'vfsAsBefore': {
      const before = claim.sinceMs === undefined ? looks[0] : at(looks, claim.sinceMs);
      return judgeAsBefore(before, at(looks, claim.momentMs), claim.pf);
    }
    case 'distinctVfs':
      return judgeDistinct(looks, claim.pf);
    case 'foreignQdisc': {
      const seen = own.find((each) => each.kind === 'qdiscs' && each.momentMs === claim.momentMs);
      const foreign = seen?.kind === 'qdiscs' ? seen.foreign : [];
      const told = foreign.map(
        ({ namespace, name, type, handle }) => `${namespace === '' ? '' : `${namespace}: `}${name} ${type} ${handle}`,
      );
      return {
        held: foreign.some(
          ({ namespace, name, handle }) => namespace === '' && name === claim.link && handle === claim.handle,
        ),
        detail: told.length === 0 ? 'there is none of somebody else' : told.join(', '),
      };
    }
  }
}

const NOT_LOOKED: Judged = { held: false, detail: 'nobody looked' };

const at = (looks: readonly FunctionsObservation[], momentMs: number): FunctionsObservation | undefined =>
  looks.find((look) => look.momentMs === momentMs);

function judgeVf(
  { of, knobs, mac, place }: Extract<CardClaim, { kind: 'vf' }>,
  look: FunctionsObservation | undefined,
  own: readonly Observation[],
): Judged {
  if (look === undefined) return NOT_LOOKED;
  const vf = look.virtual.find((each) =>
    of.container === undefined
      ? vfKey(each) === vfKey(of)
      : each.link?.namespace === of.container && each.link.name === of.link,
  );
  if (vf === undefined)
    return {
      held: false,
      detail: of.container === undefined ? `there is no ${vfKey(of)}` : `${of.container} has no VF as ${of.link}`,
    };
  const wrong: string[] = [];
  for (const [knob, wanted] of Object.entries(knobs)) {
    const is = vf[knob as keyof VfKnobs];
    if (is !== wanted) wrong.push(`its ${knob} is ${String(is)}, not ${String(wanted)}`);
  }
  const wantedMac = mac === 'lease' ? leasedMac(of, own) : mac;
  if (mac !== undefined && vf.mac !== wantedMac)
    wrong.push(`its PF gives it ${vf.mac}, not ${wantedMac ?? 'a lease’s'}`);
  if (mac === 'lease' && vf.linkMac !== wantedMac)
    wrong.push(`its link has ${vf.linkMac ?? 'no MAC'}, not ${wantedMac ?? 'a lease’s'}`);
  if (place !== undefined && !isAt(vf, place)) wrong.push(`it is ${whereIs(vf)}`);
  return { held: wrong.length === 0, detail: `${vfKey(vf)}: ${wrong.length === 0 ? stateOf(vf) : wrong.join('; ')}` };
}

function leasedMac(of: VfMeant, own: readonly Observation[]): string | undefined {
  const leases = own.flatMap((each) =>
    each.kind === 'address' && each.taken && each.container === of.container && each.network === of.network
      ? [each.mac]
      : [],
  );
  return leases.at(-1);
}

function isAt({ driver, link }: VirtualFunction, place: VfPlace): boolean {
  if (place === 'unbound') return driver === null;
  if (place === 'nowhere') return driver !== null && link === null;
  return link?.namespace === place.namespace;
}

function whereIs({ driver, link }: VirtualFunction): string {
  if (driver === null) return 'bound to no driver';
  if (link === null) return 'in no namespace that anybody sees';
  return link.namespace === '' ? `${link.name} of the host` : `${link.name} in ${link.namespace}`;
}

const stateOf = (vf: VirtualFunction): string =>
  [
    whereIs(vf),
    `MAC ${vf.linkMac ?? vf.mac}`,
    ...(vf.vlan === 0 ? [] : [`VLAN ${vf.vlan}`]),
    ...(vf.maxRateBitsPerSec === 0 ? [] : [`at most ${vf.maxRateBitsPerSec / 1e6} Mbit/s`]),
  ].join(', ');

/** In everything that its PF and its driver say; the MAC that a link chose by itself is another each time. */
const isSame = (a: VirtualFunction, b: VirtualFunction): boolean =>
  samePlainData({ ...a, linkMac: null }, { ...b, linkMac: null });

function judgeAsBefore(
  before: FunctionsObservation | undefined,
  now: FunctionsObservation | undefined,
  pf: string | undefined,
): Judged {
  if (before === undefined || now === undefined) return NOT_LOOKED;
  const those = ({ virtual }: FunctionsObservation) =>
    new Map(virtual.filter((vf) => (pf ?? vf.pf) === vf.pf).map((vf) => [vfKey(vf), vf]));
  const [was, is] = [those(before), those(now)];
  const changed = [...new Set([...was.keys(), ...is.keys()])].flatMap((key) => {
    const [a, b] = [was.get(key), is.get(key)];
    if (a === undefined) return [`${key} was not there`];
    if (b === undefined) return [`${key} is gone`];
    return isSame(a, b) ? [] : [`${key}: ${differenceOf(a, b)}`];
  });
  const wrong = [...changed, ...now.held.map((key) => `${key} is still written down`)];
  return {
    held: wrong.length === 0,
    detail: wrong.length === 0 ? `${is.size} VFs as they were, and nothing written down of any` : wrong.join('; '),
  };
}

const differenceOf = (a: VirtualFunction, b: VirtualFunction): string =>
  (Object.keys(a) as (keyof VirtualFunction)[])
    .filter((key) => key !== 'linkMac' && !samePlainData(a[key], b[key]))
    .map((key) => `${key} was ${JSON.stringify(a[key])}, is ${JSON.stringify(b[key])}`)
    .join(', ');

/** No address that a PF gave. */
const NO_MAC = '00:00:00:00:00:00';

function judgeDistinct(looks: readonly FunctionsObservation[], pf: string | undefined): Judged {
  for (const { atMs, virtual } of looks) {
    const owners = new Map<string, string>();
    for (const vf of virtual) {
      if (pf !== undefined && vf.pf !== pf) continue;
      for (const mac of new Set([vf.mac, vf.linkMac])) {
        if (mac === null || mac === NO_MAC) continue;
        const other = owners.get(mac);
        if (other !== undefined)
          return { held: false, detail: `at ${(atMs / 1000).toFixed(2)} s ${mac} is of ${other} and ${vfKey(vf)}` };
        owners.set(mac, vfKey(vf));
      }
    }
  }
  return looks.length === 0 ? NOT_LOOKED : { held: true, detail: `in ${looks.length} looks each MAC was one VF's` };
}
