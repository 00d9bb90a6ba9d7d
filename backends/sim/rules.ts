import type { FirewallChain, FirewallRule } from '../../src/host/firewall.ts';
import { IIFNAME, isNameField, valueOf } from './fields.ts';
import type { HostNetwork } from './network.ts';
import type { Packet } from './packet.ts';
import { findBelow, type Level, type NamedSet } from './sets.ts';

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
  /** Of dnat. */
  readonly map: NamedSet | null;
  readonly by: readonly number[];
  readonly text: string;
}

export interface Chain {
  readonly spec: FirewallChain;
  readonly rules: readonly Rule[];
}

function meets(condition: Condition, packet: Packet, host: HostNetwork): boolean {
  if (condition.etherType !== 0 && condition.etherType !== packet.etherType) return false;
  if (condition.among !== null)
    return (findBelow(condition.among, condition.fields, 0, packet, host) === null) === condition.not;
  const value = valueOf(condition.fields[0]!, packet, host);
  if (condition.bits) return ((value & condition.value) === 0) === condition.not;
  return ((value & condition.mask) === condition.value) !== condition.not;
}

/** The first rule that the packet meets all conditions of, and that says what becomes of it; null: none. */
export function firstRule(rules: readonly Rule[], packet: Packet, host: HostNetwork): Rule | null {
  next: for (const rule of rules) {
    for (const condition of rule.conditions) if (!meets(condition, packet, host)) continue next;
    if (rule.map === null || rule.map.find(rule.by, packet, host) !== null) return rule;
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
    left.push({ ...rule, conditions });
    if (conditions.length === 0 && rule.map === null) break;
  }
  // What no rule drops or translates passes: an accept at the end says nothing.
  while (left.at(-1)?.verdict === 'accept') left.pop();
  return left;
}

/** Null: some condition is never met. */
function conditionsLeft({ conditions, map }: Rule, iif: number, oif: number): Condition[] | null {
  if (map !== null && isEmpty(map.root)) return null;
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
  let { fields, among } = condition;
  if (among === null) {
    if (!isNameField(fields[0]!)) return condition;
    return ((nameOf(fields[0]!, iif, oif) & mask) === value) !== not;
  }
  while (among.length > 0 && fields.length > 0 && isNameField(fields[0]!)) {
    // A name is never an interval: all are in one group.
    const node = among[0]!.below.get(nameOf(fields[0]!, iif, oif));
    fields = fields.slice(1);
    if (fields.length === 0) return (node !== undefined && node.mapped !== null) !== not;
    among = node?.level ?? [];
  }
  if (isEmpty(among) && (!not || etherType === 0)) return not;
  return { ...condition, fields, among };
}

const isEmpty = (level: Level): boolean => level.every(({ below }) => below.size === 0);

const nameOf = (field: number, iif: number, oif: number): number => (field === IIFNAME ? iif : oif);
