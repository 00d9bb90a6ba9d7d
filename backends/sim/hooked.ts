import { IIFNAME, OIFNAME } from './fields.ts';
import type { HostNetwork } from './network.ts';
import type { Packet } from './packet.ts';
import { between, type Chain, type Rule } from './rules.ts';

/** What is left of the chains at one hook for packets between two links. */
interface Left {
  readonly before: readonly Chain[];
  /** In translation, the first rule of any chain that says something ends the search. */
  readonly nat: readonly Rule[];
  readonly after: readonly Chain[];
}

/** The chains at one hook, in the order in which a packet meets them. */
export class Hooked {
  readonly #before: readonly Chain[];
  readonly #nat: readonly Rule[];
  readonly #after: readonly Chain[];
  readonly #asksIif: boolean;
  readonly #asksOif: boolean;
  /** All of them, whatever the links. */
  readonly all: Left;
  /** By the link in and the link out, derived under this revision; and what was asked for last. */
  #left = new Map<number, Map<number, Left>>();
  #revision = 0;
  #iif = 0;
  #oif = 0;
  #last: Left | null = null;

  constructor(before: readonly Chain[], nat: readonly Chain[], after: readonly Chain[]) {
    this.#before = before;
    this.#nat = nat.flatMap(({ rules }) => rules);
    this.#after = after;
    this.all = { before, nat: this.#nat, after };
    const rules = [...before, ...nat, ...after].flatMap((chain) => chain.rules);
    const asks = (name: number): boolean =>
      rules.some(({ conditions, by }) => by.includes(name) || conditions.some(({ fields }) => fields.includes(name)));
    this.#asksIif = asks(IIFNAME);
    this.#asksOif = asks(OIFNAME);
  }

  /** What of them concerns packets between this one's links. */
  between(packet: Packet, { network }: HostNetwork): Left {
    const iif = this.#asksIif ? packet.iif : 0;
    const oif = this.#asksOif ? packet.oif : 0;
    if (this.#revision !== network.revision) {
      this.#revision = network.revision;
      this.#left = new Map();
      this.#last = null;
    }
    if (this.#last !== null && iif === this.#iif && oif === this.#oif) return this.#last;
    this.#iif = iif;
    this.#oif = oif;
    return (this.#last = this.#find(iif, oif));
  }

  #find(iif: number, oif: number): Left {
    let ofIif = this.#left.get(iif);
    if (ofIif === undefined) this.#left.set(iif, (ofIif = new Map<number, Left>()));
    let left = ofIif.get(oif);
    if (left === undefined) {
      left = {
        before: chainsLeft(this.#before, iif, oif),
        nat: between(this.#nat, iif, oif),
        after: chainsLeft(this.#after, iif, oif),
      };
      ofIif.set(oif, left);
    }
    return left;
  }
}

const chainsLeft = (chains: readonly Chain[], iif: number, oif: number): Chain[] =>
  chains.map(({ spec, rules }) => ({ spec, rules: between(rules, iif, oif) })).filter(({ rules }) => rules.length > 0);
