import type {
  FirewallChain,
  FirewallFamily,
  FirewallField,
  FirewallFrame,
  FirewallMatch,
  FirewallRule,
  FirewallSet,
  FirewallVerdict,
} from '../../src/host/firewall.ts';
import { isField, TYPE_OF } from '../../src/host/firewall-values.ts';

const FIELD = Object.keys(TYPE_OF)
  .toSorted((a, b) => b.length - a.length)
  .join('|');
const MATCH = String.raw`((?:${FIELD})(?: \. (?:${FIELD}))*) (!= )?(\S+)`;
const WHOLE_MATCH = new RegExp(`^${MATCH}$`);
const FIRST_MATCH = new RegExp(`^${MATCH} `);
const LOOKED_UP = new RegExp(String.raw`^(dnat ip to|meta mark set) ((?:${FIELD})(?: \. (?:${FIELD}))*) map @(\S+)$`);

/** The condition that `ruleText` wrote so; null where it wrote no such text. */
export function parseMatch(text: string): FirewallMatch | null {
  const found = WHOLE_MATCH.exec(text);
  return found === null ? null : matchFrom(found);
}

function matchFrom([, fields, not, value]: RegExpExecArray): FirewallMatch {
  return {
    fields: parseFields(fields!)!,
    ...(not === undefined ? {} : { not: true }),
    is: value!.startsWith('@') ? { set: value!.slice(1) } : { value: value! },
  };
}

/** The rule that `ruleText` wrote so; null where it wrote no such text. */
export function parseRule(text: string): FirewallRule | null {
  const when: FirewallMatch[] = [];
  let rest = text;
  for (;;) {
    // First: `meta mark set` begins as a condition does.
    const verdict = parseVerdict(rest);
    if (verdict !== null) return { when, verdict };
    const found = FIRST_MATCH.exec(rest);
    if (found === null) return null;
    when.push(matchFrom(found));
    rest = rest.slice(found[0].length);
  }
}

function parseVerdict(text: string): FirewallVerdict | null {
  if (text === 'accept' || text === 'drop' || text === 'masquerade') return text;
  const [, verb, fields, map] = LOOKED_UP.exec(text) ?? [];
  if (fields === undefined || map === undefined) return null;
  const looked = { map, by: parseFields(fields)! };
  return verb === 'meta mark set' ? { mark: looked } : { dnat: looked };
}

/** Fields that were joined by ` . `; null where one is none. */
export function parseFields(text: string): FirewallField[] | null {
  const fields = text.split(' . ');
  return fields.every(isField) ? fields : null;
}

/** The frame whose `frameLines` these are; null where they are no frame's. */
export function parseFrame(lines: readonly string[]): FirewallFrame | null {
  const sets: FirewallSet[] = [];
  const chains = new Map<string, FirewallChain & { readonly rules: FirewallRule[] }>();
  for (const line of lines) {
    const [, family, kind, name, rest] = /^(inet|bridge) (set|map|chain) (\S+): (.+)$/.exec(line) ?? [];
    if (rest === undefined) return null;
    const at = { family: family as FirewallFamily, name: name! };
    if (kind !== 'chain') {
      const set = parseSet(at, rest);
      if (set === null) return null;
      sets.push(set);
      continue;
    }
    const chain = chains.get(`${family} ${name}`);
    const rule = chain && parseRule(rest);
    if (rule !== undefined && rule !== null) chain!.rules.push(rule);
    else {
      const [, type, hook, priority] = /^(filter|nat) hook (\w+) priority (-?\d+)$/.exec(rest) ?? [];
      if (chain !== undefined || priority === undefined) return null;
      chains.set(`${family} ${name}`, {
        ...at,
        type: type as FirewallChain['type'],
        hook: hook as FirewallChain['hook'],
        priority: Number(priority),
        rules: [],
      });
    }
  }
  return { sets, chains: [...chains.values()] };
}

function parseSet(at: Pick<FirewallSet, 'family' | 'name'>, text: string): FirewallSet | null {
  const [, key = '', , destination, intervals] = /^(.+?)( : (.+?))?( intervals)?$/.exec(text) ?? [];
  const fields = parseFields(key);
  const to = destination === undefined ? undefined : parseFields(destination);
  if (fields === null || to === null) return null;
  return {
    ...at,
    fields,
    ...(intervals === undefined ? {} : { intervals: true }),
    ...(to === undefined ? {} : { to }),
  };
}
