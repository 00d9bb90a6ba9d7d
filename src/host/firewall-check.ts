import { HostError } from './errors.ts';
import {
  type FirewallChain,
  type FirewallElement,
  type FirewallField,
  type FirewallFrame,
  type FirewallMatch,
  type FirewallRule,
  type FirewallSet,
  elementKey,
  frameLines,
  ruleText,
} from './firewall.ts';
import { isFlags, TYPE_OF, whyNoValue } from './firewall-values.ts';

const OPERATION = 'firewall.apply';

/** A word that both nft and iptables take for a set or chain. */
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,30}$/;

/** Where a chain of network address translation may hang (nft_chain_nat.c), and what may be done there. */
const NAT_HOOKS: Partial<Record<FirewallChain['hook'], 'dnat' | 'masquerade'>> = {
  prerouting: 'dnat',
  output: 'dnat',
  postrouting: 'masquerade',
};

/** A set by its family and name. */
export const setKey = ({ family, name }: Pick<FirewallSet, 'family' | 'name'>): string => `${family} ${name}`;

export const setLine = (set: FirewallSet): string => frameLines({ sets: [set], chains: [] })[0]!;
export const chainLine = (chain: FirewallChain): string =>
  frameLines({ sets: [], chains: [{ ...chain, rules: [] }] })[0]!;
export const ruleLine = ({ family, name }: FirewallChain, rule: FirewallRule): string =>
  `${family} chain ${name}: ${ruleText(rule)}`;

/** Refuses a frame that nobody could lay. @throws HostError EINVAL, whose target is the line at fault */
export function checkFrame({ sets, chains }: FirewallFrame): void {
  const known = new Map<string, FirewallSet>();
  for (const set of sets) {
    refuse(setLine(set), known.has(setKey(set)) ? 'there are two of that name' : whyNoSet(set));
    known.set(setKey(set), set);
  }
  const names = new Set<string>();
  for (const chain of chains) {
    refuse(chainLine(chain), names.has(setKey(chain)) ? 'there are two of that name' : whyNoChain(chain));
    names.add(setKey(chain));
    for (const rule of chain.rules) refuse(ruleLine(chain, rule), whyNoRule(chain, rule, known));
  }
}

function refuse(target: string, detail: string | null): void {
  if (detail !== null) throw new HostError('EINVAL', OPERATION, target, { detail });
}

function whyNoSet({ name, fields, to }: FirewallSet): string | null {
  if (!NAME.test(name)) return whyNoName(name);
  if (fields.length === 0) return 'a set is of one field at least';
  const flags = [...fields, ...(to ?? [])].find((field) => TYPE_OF[field] === 'ct_status');
  if (flags !== undefined) return `"${flags}" is several flags at once, and no set holds those`;
  return to === undefined || purposeOf(to) !== null
    ? null
    : 'a map leads to "ip daddr", to "ip daddr . th dport", or to "meta mark"';
}

/** What a map that leads to these fields is for; null: nothing. */
function purposeOf(to: readonly FirewallField[]): 'dnat' | 'mark' | null {
  const types = typesOf(to);
  if (types === 'mark') return 'mark';
  return types === 'ipv4_addr' || types === 'ipv4_addr . inet_service' ? 'dnat' : null;
}

const typesOf = (fields: readonly FirewallField[]): string => fields.map((field) => TYPE_OF[field]).join(' . ');

const whyNoName = (name: string): string =>
  `"${name}" is no name: a letter, then up to 30 letters, digits, "-" and "_"`;

function whyNoChain({ family, name, type, hook, priority }: FirewallChain): string | null {
  if (!NAME.test(name)) return whyNoName(name);
  if (!Number.isInteger(priority)) return `priority ${priority} is no whole number`;
  if (type === 'filter') return null;
  if (family === 'bridge') return 'addresses are translated in inet chains alone';
  return NAT_HOOKS[hook] === undefined ? `addresses are not translated at ${hook}` : null;
}

function whyNoRule(chain: FirewallChain, rule: FirewallRule, sets: ReadonlyMap<string, FirewallSet>): string | null {
  const { family, type, hook } = chain;
  for (const match of rule.when) {
    const why = whyNoMatch(match, family, sets);
    if (why !== null) return why;
  }
  const { verdict } = rule;
  if (verdict === 'accept' || verdict === 'drop') return null;
  if (typeof verdict === 'object' && 'mark' in verdict)
    // A chain of type nat sees the first packet of a flow alone (nf_nat_inet_fn).
    return type === 'filter'
      ? whyNoMap('mark', verdict.mark, family, sets)
      : 'packets are marked in filter chains alone';
  const kind = verdict === 'masquerade' ? verdict : 'dnat';
  if (type !== 'nat' || NAT_HOOKS[hook] !== kind) return `no ${kind} at ${hook} in a chain of type ${type}`;
  return verdict === 'masquerade' ? null : whyNoMap('dnat', verdict.dnat, family, sets);
}

function whyNoMap(
  purpose: 'dnat' | 'mark',
  { map: name, by }: { readonly map: string; readonly by: readonly FirewallField[] },
  family: string,
  sets: ReadonlyMap<string, FirewallSet>,
): string | null {
  const map = sets.get(`${family} ${name}`);
  if (map?.to === undefined) return `the frame has no ${family} map "${name}"`;
  return purposeOf(map.to) === purpose ? whyNotLike(by, map.fields, name) : `"${name}" leads to ${map.to.join(' . ')}`;
}

function whyNoMatch({ fields, is }: FirewallMatch, family: string, sets: ReadonlyMap<string, FirewallSet>) {
  const [field] = fields;
  if (field === undefined) return 'a condition is of one field at least';
  if ('value' in is)
    return fields.length > 1
      ? 'several fields are looked up in a set alone'
      : whyNoValue(TYPE_OF[field], is.value, true);
  const set = sets.get(`${family} ${is.set}`);
  if (set === undefined || set.to !== undefined) return `the frame has no ${family} set "${is.set}"`;
  return whyNotLike(fields, set.fields, is.set);
}

function whyNotLike(fields: readonly FirewallField[], of: readonly FirewallField[], name: string): string | null {
  return typesOf(fields) === typesOf(of) ? null : `"${name}" holds ${typesOf(of)}, not ${typesOf(fields)}`;
}

/** Refuses an element that its set could not hold. @throws HostError ENOENT, EINVAL */
export function checkElement(
  element: FirewallElement,
  sets: ReadonlyMap<string, FirewallSet>,
  purpose: 'add' | 'remove',
): void {
  const { family, set: name, key, value } = element;
  const set = sets.get(`${family} ${name}`);
  const fail = (code: 'ENOENT' | 'EINVAL', detail: string): never => {
    throw new HostError(code, OPERATION, elementKey(element), { detail });
  };
  if (set === undefined) return fail('ENOENT', `there is no ${family} set or map "${name}"`);
  const why = whyNoValues(set.fields, key, set.intervals === true);
  if (why !== null) return fail('EINVAL', why);
  if (value === undefined) return set.to && purpose === 'add' ? fail('EINVAL', 'it maps to nothing') : undefined;
  if (set.to === undefined) return fail('EINVAL', `"${name}" is a set: its elements map to nothing`);
  const whyNot = whyNoValues(set.to, value, false);
  if (whyNot !== null) fail('EINVAL', whyNot);
}

function whyNoValues(fields: readonly FirewallField[], key: string, prefixes: boolean): string | null {
  const values = key.split(' . ');
  if (values.length !== fields.length) return `${fields.length} values are wanted, as in "${fields.join(' . ')}"`;
  for (const [index, field] of fields.entries()) {
    const type = TYPE_OF[field];
    const value = values[index]!;
    if (isFlags(type) && value.includes(',')) return `"${value}": a set looks at one flag at a time`;
    const why = whyNoValue(type, value, prefixes);
    if (why !== null) return why;
  }
  return null;
}
