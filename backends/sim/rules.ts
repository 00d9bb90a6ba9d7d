import type { FirewallChain, FirewallRule } from '../../src/host/firewall.ts';
import { IIFNAME, isNameField, valueOf } from './fields.ts';
import type { HopTally } from './hop-tally.ts';
import type { HostNetwork } from './network.ts';
import type { Packet } from './packet.ts';
import { findBelow, type Level, type Node } from './sets.ts';

/** A condition made ready to be tried. */
export interface Condition {
  /** The packet's ether type must be this; 0: any. */
  readonly etherType: number;
  readonly fields: readonly number[];
  readonly not: boolean;
  /** The elements, one of which it must be. */
  readonly among: Level | null;
  readonly value: number;
  readonly mask: number;
  /** Any bit of it, not all of it. */
  readonly bits: boolean;
}

export interface Rule {
  readonly conditions: readonly Condition[];
  readonly verdict: FirewallRule['verdict'];
  /** The elements of the map that dnat or mark look into, and by what; null: neither. */
  readonly map: Level | null;
  readonly by: readonly number[];
  /** What looks into a map must be of this ether type; 0: any. */
  readonly etherType: number;
  readonly text: string;
}

export interface Chain {
  readonly spec: FirewallChain;
  readonly rules: readonly Rule[];
}

function meets(condition: Condition, packet: Packet, host: HostNetwork, tally: HopTally | null): boolean {
  tally?.count(host, condition.among === null ? 'match' : 'lookup', packet);
  if (condition.etherType !== 0 && condition.etherType !== packet.etherType) return false;
  if (condition.among !== null)
    return (findBelow(condition.among, condition.fields, 0, packet, host) === null) === condition.not;
  const value = valueOf(condition.fields[0]!, packet, host);
  if (condition.bits) return ((value & condition.value) === 0) === condition.not;
  return ((value & condition.mask) === condition.value) !== condition.not;
}

/** What the packet's values map to in the rule's map; null: they are not in it. */
export const mappedBy = ({ map, by, etherType }: Rule, packet: Packet, host: HostNetwork): readonly number[] | null =>
  map === null || (etherType !== 0 && etherType !== packet.etherType) ? null : findBelow(map, by, 0, packet, host);

/** The first rule that the packet meets all conditions of, and that says what becomes of it; null: none. Rules before it mark the packet. */
export function firstRule(
  rules: readonly Rule[],
  packet: Packet,
  host: HostNetwork,
  tally: HopTally | null,
): Rule | null {
  next: for (const rule of rules) {
    for (const condition of rule.conditions) if (!meets(condition, packet, host, tally)) continue next;
    if (rule.map === null) return rule;
    tally?.count(host, 'lookup', packet);
    const mapped = mappedBy(rule, packet, host);
    if (mapped === null) continue;
    if (typeof rule.verdict === 'string' || 'dnat' in rule.verdict) return rule;
    packet.mark = mapped[0]!;
  }
  return null;
}

/**
 * What of these rules can still say something of packets that come in by one link and go out by another, as their sets are
 * now. Most conditions ask for the names of links, and are answered here: few are left to be tried with each packet.
 */
export function between(rules: readonly Rule[], iif: number, oif: number): Rule[] {
  const left: Rule[] = [];
  for (const rule of rules) {
    const conditions = conditionsLeft(rule, iif, oif);
    if (conditions === null) continue;
    const looked = rule.map === null ? null : narrowed(rule.map, rule.by, iif, oif);
    if (looked !== null && isEmpty(looked.level)) continue;
    left.push({ ...rule, conditions, ...(looked !== null && { map: looked.level, by: looked.fields }) });
    if (conditions.length === 0 && rule.map === null) break;
  }
  // What no rule drops or translates passes: an accept at the end says nothing.
  while (left.at(-1)?.verdict === 'accept') left.pop();
  return left;
}

/** Null: some condition is never met. */
function conditionsLeft({ conditions }: Rule, iif: number, oif: number): Condition[] | null {
  const left: Condition[] = [];
  for (const condition of conditions) {
    const rest = conditionLeft(condition, iif, oif);
    if (rest === false) return null;
    if (rest !== true) left.push(rest);
  }
  return left;
}

function conditionLeft(condition: Condition, iif: number, oif: number): Condition | boolean {
  const { etherType, not, value, mask } = condition;
  if (condition.among === null) {
    const [field] = condition.fields;
    return isNameField(field!) ? ((nameOf(field!, iif, oif) & mask) === value) !== not : condition;
  }
  const { level: among, fields } = narrowed(condition.among, condition.fields, iif, oif);
  if (among.length > 0 && isNameField(fields[0]!)) return (nodeOf(among, fields[0]!, iif, oif)?.mapped != null) !== not;
  if (isEmpty(among) && (!not || etherType === 0)) return not;
  return { ...condition, fields, among };
}

/** What of elements, and of the fields that they are looked up by, is left behind the names of links at their beginning. */
function narrowed(
  level: Level,
  fields: readonly number[],
  iif: number,
  oif: number,
): { readonly level: Level; readonly fields: readonly number[] } {
  if (level.length === 0 || fields.length === 1 || !isNameField(fields[0]!)) return { level, fields };
  return narrowed(nodeOf(level, fields[0]!, iif, oif)?.level ?? [], fields.slice(1), iif, oif);
}

/** A name is never an interval: all are in one group. */
const nodeOf = (level: Level, field: number, iif: number, oif: number): Node | undefined =>
  level[0]!.below.get(nameOf(field, iif, oif));

const isEmpty = (level: Level): boolean => level.every(({ below }) => below.size === 0);

const nameOf = (field: number, iif: number, oif: number): number => (field === IIFNAME ? iif : oif);
