import type { Applied } from './batch.ts';

/** `inet`: packets that the host's IP stack takes or routes; `bridge`: frames between the ports of a bridge. */
export type FirewallFamily = 'inet' | 'bridge';

/** What of a packet a rule looks at, in nft's own words (nft(8)). */
export type FirewallField =
  | 'iifname'
  | 'oifname'
  | 'ether saddr'
  | 'ether type'
  | 'arp saddr ether'
  | 'arp saddr ip'
  | 'ip saddr'
  | 'ip daddr'
  | 'meta l4proto'
  | 'th dport'
  | 'th sport'
  | 'meta mark'
  | 'ct state'
  | 'ct status'
  | 'fib daddr type';

/**
 * One condition. Several fields are looked up together, in a set alone. A value is as nft prints it: `ip`, `arp`
 * (ether type), `tcp`, `udp` (l4proto), `established,related` (ct state: any of them), `dnat` (ct status), `local` (fib
 * daddr type), an address, a prefix, a name.
 */
export interface FirewallMatch {
  readonly fields: readonly FirewallField[];
  /** It must not be so. */
  readonly not?: true;
  readonly is: { readonly value: string } | { readonly set: string };
}

/**
 * What becomes of a packet that meets all conditions. `dnat` looks the new destination up in a map by these fields, `mark`
 * the packet's mark; what is not in the map goes on to the next rule, and so does what was marked.
 */
export type FirewallVerdict =
  | 'accept'
  | 'drop'
  | 'masquerade'
  | { readonly dnat: { readonly map: string; readonly by: readonly FirewallField[] } }
  | { readonly mark: { readonly map: string; readonly by: readonly FirewallField[] } };

export interface FirewallRule {
  readonly when: readonly FirewallMatch[];
  readonly verdict: FirewallVerdict;
}

/** Rules at one place of a packet's way. Its policy is accept: what no rule drops passes, so that nobody else's packets suffer. */
export interface FirewallChain {
  readonly family: FirewallFamily;
  readonly name: string;
  readonly type: 'filter' | 'nat';
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
  readonly priority: number;
  readonly rules: readonly FirewallRule[];
}

/** A named set, or a map where `to` is given. Prefixes may be elements where a field is an address and `intervals` is set. */
export interface FirewallSet {
  readonly family: FirewallFamily;
  readonly name: string;
  readonly fields: readonly FirewallField[];
  readonly intervals?: true;
  readonly to?: readonly FirewallField[];
}

/** What does not change as containers come and go: sets without their elements, and chains. */
export interface FirewallFrame {
  readonly sets: readonly FirewallSet[];
  readonly chains: readonly FirewallChain[];
}

/** An element of a set: its fields joined by ` . `, as nft writes them; of a map also what it maps to. */
export interface FirewallElement {
  readonly family: FirewallFamily;
  readonly set: string;
  readonly key: string;
  readonly value?: string;
}

/** One change, made whole or not at all. */
export interface FirewallChange {
  /** In place of everything of Plimsoll's that is there; null takes it all away. Undefined leaves the frame as it is. */
  readonly frame?: FirewallFrame | null;
  /** One that is there is no error; of a map, one with another value is replaced. */
  readonly add: readonly FirewallElement[];
  /** One that is gone already is no error. */
  readonly remove: readonly FirewallElement[];
}

/** What is there of Plimsoll's, read back. Null frame: nothing. */
export interface FirewallState {
  /** `frameLines` of what is there; a rule that Plimsoll could not have written stands there as the tool tells it. */
  readonly frame: readonly string[] | null;
  readonly elements: readonly FirewallElement[];
}

/** The packet filter of the host's own namespace: tables of Plimsoll's own. */
export interface Firewall {
  /** Each change whole or not at all. EINVAL; ENOENT for an element of a set that is not there; EOPNOTSUPP where the kernel cannot. */
  apply(changes: readonly FirewallChange[]): Promise<Applied>;
  read(): Promise<FirewallState>;
}

const matchText = ({ fields, not, is }: FirewallMatch): string =>
  `${fields.join(' . ')} ${not ? '!= ' : ''}${'set' in is ? `@${is.set}` : is.value}`;

function verdictText(verdict: FirewallVerdict): string {
  if (typeof verdict === 'string') return verdict;
  if ('mark' in verdict) return `meta mark set ${verdict.mark.by.join(' . ')} map @${verdict.mark.map}`;
  return `dnat ip to ${verdict.dnat.by.join(' . ')} map @${verdict.dnat.map}`;
}

/** A rule as nft writes it. */
export const ruleText = ({ when, verdict }: FirewallRule): string =>
  [...when.map(matchText), verdictText(verdict)].join(' ');

/** A frame in lines that can be compared: sets in order of name, chains in order of name with their rules in order. */
export function frameLines({ sets, chains }: FirewallFrame): string[] {
  const setLines = sets.map(
    ({ family, name, fields, intervals, to }) =>
      `${family} ${to ? 'map' : 'set'} ${name}: ${fields.join(' . ')}${to ? ` : ${to.join(' . ')}` : ''}${intervals ? ' intervals' : ''}`,
  );
  const chainLines = chains
    .toSorted((a, b) => (`${a.family} ${a.name}` < `${b.family} ${b.name}` ? -1 : 1))
    .flatMap(({ family, name, type, hook, priority, rules }) => [
      `${family} chain ${name}: ${type} hook ${hook} priority ${priority}`,
      ...rules.map((rule) => `${family} chain ${name}: ${ruleText(rule)}`),
    ]);
  return [...setLines.toSorted(), ...chainLines];
}

/** An element as one string: equal elements have equal keys. */
export const elementKey = ({ family, set, key, value }: FirewallElement): string =>
  `${family} ${set} ${key}${value === undefined ? '' : ` : ${value}`}`;
