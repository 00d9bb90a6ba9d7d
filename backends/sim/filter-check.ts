import type { Errno } from '../../src/host/errors.ts';
import {
  frameLines,
  ruleText,
  type FirewallChain,
  type FirewallFrame,
  type FirewallMatch,
  type FirewallRule,
  type FirewallSet,
} from '../../src/host/firewall.ts';
import { isBitField, typeOf } from './fields.ts';

/** A line of a frame that no kernel would take, or that is not modelled. */
export class Misfit extends Error {
  readonly code: Errno;
  readonly line: string;

  constructor(line: string, why: string, code: Errno = 'EINVAL') {
    super(why);
    this.code = code;
    this.line = line;
  }
}

/** A word that both nft and iptables take for a set or chain. */
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,30}$/;

/** Where addresses may be translated, and how (nft_chain_nat.c, nft_masq.c, nft_nat.c). */
const NAT_HOOKS: Partial<Record<FirewallChain['hook'], 'dnat' | 'masquerade'>> = {
  prerouting: 'dnat',
  output: 'dnat',
  postrouting: 'masquerade',
};

const chainLine = (chain: FirewallChain): string => frameLines({ sets: [], chains: [{ ...chain, rules: [] }] })[0]!;

/** The line of a rule as `frameLines` has it. */
export const ruleLine = ({ family, name }: FirewallChain, rule: FirewallRule): string =>
  `${family} chain ${name}: ${ruleText(rule)}`;

/** Refuses a frame that cannot be laid; values are looked at where they are read. @throws Misfit */
export function checkFrame({ sets, chains }: FirewallFrame): void {
  const known = new Map<string, FirewallSet>();
  for (const set of sets) {
    const [line] = frameLines({ sets: [set], chains: [] });
    refuse(line!, known.has(`${set.family} ${set.name}`) ? 'there are two of that name' : whyNoSet(set));
    known.set(`${set.family} ${set.name}`, set);
  }
  const names = new Set<string>();
  for (const chain of chains) {
    const name = `${chain.family} ${chain.name}`;
    refuse(chainLine(chain), names.has(name) ? 'there are two of that name' : whyNoChain(chain));
    names.add(name);
    for (const rule of chain.rules) {
      refuse(ruleLine(chain, rule), whyNoRule(chain, rule, known));
      refuse(ruleLine(chain, rule), whyNotModelled(chain, rule), 'EOPNOTSUPP');
    }
  }
}

function refuse(line: string, why: string | null, code: Errno = 'EINVAL'): void {
  if (why !== null) throw new Misfit(line, why, code);
}

const whyNoName = (name: string): string =>
  `"${name}" is no name: a letter, then up to 30 letters, digits, "-" and "_"`;

function whyNoSet({ name, fields, to }: FirewallSet): string | null {
  if (!NAME.test(name)) return whyNoName(name);
  if (fields.length === 0) return 'a set is of one field at least';
  if ([...fields, ...(to ?? [])].some(isBitField)) return 'flags are several values at once, and no set holds those';
  const target = to?.map(typeOf).join(' ');
  return target === undefined || target === 'address' || target === 'address port'
    ? null
    : 'a map leads to "ip daddr", or "ip daddr . th dport"';
}

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
  const kind = verdict === 'masquerade' ? verdict : 'dnat';
  if (type !== 'nat' || NAT_HOOKS[hook] !== kind) return `no ${kind} at ${hook} in a chain of type ${type}`;
  if (verdict === 'masquerade') return null;
  const map = sets.get(`${family} ${verdict.dnat.map}`);
  if (map?.to === undefined) return `the frame has no ${family} map "${verdict.dnat.map}"`;
  return whyNotLike(verdict.dnat.by, map);
}

function whyNoMatch({ fields, is }: FirewallMatch, family: string, sets: ReadonlyMap<string, FirewallSet>) {
  if (fields.length === 0) return 'a condition is of one field at least';
  if ('value' in is) return fields.length > 1 ? 'several fields are looked up in a set alone' : null;
  const set = sets.get(`${family} ${is.set}`);
  if (set === undefined || set.to !== undefined) return `the frame has no ${family} set "${is.set}"`;
  return whyNotLike(fields, set);
}

function whyNotLike(fields: FirewallMatch['fields'], { name, fields: of }: FirewallSet): string | null {
  const types = (some: FirewallMatch['fields']): string => some.map(typeOf).join(' . ');
  return types(fields) === types(of) ? null : `"${name}" holds ${types(of)}, not ${types(fields)}`;
}

/** On a bridge the kernel follows flows by another module (nf_conntrack_bridge), and looks no address up. */
function whyNotModelled({ family }: FirewallChain, { when }: FirewallRule): string | null {
  const asked = when.flatMap(({ fields }) => fields).find((field) => isBitField(field) || field === 'fib daddr type');
  return family === 'bridge' && asked !== undefined ? `"${asked}" on a bridge is not modelled` : null;
}
