import { HostError } from '../../src/host/errors.ts';
import {
  type FirewallChain,
  type FirewallElement,
  type FirewallFrame,
  type FirewallMatch,
  type FirewallRule,
  type FirewallSet,
  elementKey,
  frameLines,
} from '../../src/host/firewall.ts';
import { chainLine, ruleLine, setLine } from '../../src/host/firewall-check.ts';
import { TYPE_OF } from '../../src/host/firewall-values.ts';
import { type IptablesLayout, OURS } from './iptables-layout.ts';
import { directionsOf, ipsetTypeOf } from './ipset.ts';

/** iptables' longest comment, less its closing zero (XT_MAX_COMMENT_LEN). */
const COMMENT_LENGTH_MAX = 255;

/** What iptables cannot, nft can. */
const REMEDY = 'install nftables, on a kernel with CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and CONFIG_NF_TABLES_BRIDGE';

/** The chain that no packet meets: its rules are the frame's lines, so that it can be read back. */
export const MANIFEST = OURS;

/** The chain that no packet meets with the elements of a set that ipset cannot hold. */
export const recordOf = ({ name }: FirewallSet): string => `${OURS}.${name}`;

/** A frame's sets are of one edition and the next frame's of the other, so that both can be there at once. */
export type Edition = 'a' | 'b';
export const ipsetName = (edition: Edition, { name }: Pick<FirewallSet, 'name'>): string =>
  `${OURS}.${edition}.${name}`;

/** @throws HostError EOPNOTSUPP */
function cannot(target: string, why: string): never {
  throw new HostError('EOPNOTSUPP', 'firewall.apply', target, { detail: `iptables: ${why}; ${REMEDY}` });
}

/** A rule that is but a comment. */
const remark = (text: string): string => {
  if (text.length > COMMENT_LENGTH_MAX || /["'\\]/.test(text)) cannot(text, 'this cannot be kept as a comment');
  return `-m comment --comment "${text}"`;
};

/** All that a frame and its elements are in iptables. @throws HostError EOPNOTSUPP for what it cannot express */
export function layoutOf(frame: FirewallFrame, edition: Edition, elements: readonly FirewallElement[]): IptablesLayout {
  for (const set of frame.sets) if (set.family === 'bridge') cannot(setLine(set), 'it sees no frames of a bridge');
  for (const chain of frame.chains)
    if (chain.family === 'bridge') cannot(chainLine(chain), 'it sees no frames of a bridge');
  const bySet = Map.groupBy(elements, ({ set }) => set);
  const tables = new Map<
    string,
    { jumps: Map<string, string[]>; late: Map<string, string[]>; chains: Map<string, string[]> }
  >();
  const tableOf = (name: string) => {
    const table = tables.get(name) ?? { jumps: new Map(), late: new Map(), chains: new Map() };
    tables.set(name, table);
    return table;
  };
  const { chains: records } = tableOf('filter');
  records.set(MANIFEST, [remark(`edition ${edition}`), ...frameLines(frame).map(remark)]);
  for (const set of frame.sets)
    if (ipsetTypeOf(set) === null)
      records.set(recordOf(set), (bySet.get(set.name) ?? []).map(elementKey).sort().map(remark));
  for (const chain of frame.chains.toSorted((a, b) => a.priority - b.priority)) {
    const { table: name, builtin } = placeOf(chain);
    const table = tableOf(name);
    const own = `${OURS}-${chain.name}`;
    table.jumps.set(builtin, [...(table.jumps.get(builtin) ?? []), own]);
    table.chains.set(own, []);
    for (const [index, rule] of chain.rules.entries()) {
      const { main, spread } = rulesOf(chain, rule, `${own}.${index}`, { frame, edition, bySet });
      table.chains.get(own)!.push(main);
      if (spread !== undefined) table.chains.set(`${own}.${index}`, spread);
    }
  }
  return tables;
}

/** Before Docker's filter rules come those of mangle, which may drop as well; `raw` is before any translation. */
function placeOf(chain: FirewallChain): { readonly table: string; readonly builtin: string } {
  const { type, hook, priority } = chain;
  const builtin = hook.toUpperCase();
  if (type === 'nat') return { table: 'nat', builtin };
  // Priorities of include/uapi/linux/netfilter_ipv4.h: raw -300, mangle -150, dnat -100, filter 0, snat 100.
  if (hook === 'prerouting' && priority >= -100) cannot(chainLine(chain), 'it has no such place after translation');
  if (hook === 'postrouting') return { table: 'mangle', builtin };
  if (hook === 'prerouting' && priority <= -300) return { table: 'raw', builtin };
  return { table: priority < 0 ? 'mangle' : 'filter', builtin };
}

interface Around {
  readonly frame: FirewallFrame;
  readonly edition: Edition;
  readonly bySet: ReadonlyMap<string, readonly FirewallElement[]>;
}

/** A rule, and where it looks into what ipset cannot hold: the rules, one an element, that it goes through. */
function rulesOf(
  chain: FirewallChain,
  rule: FirewallRule,
  spreadName: string,
  { frame, edition, bySet }: Around,
): { readonly main: string; readonly spread?: readonly string[] } {
  const about = ruleLine(chain, rule);
  const { verdict } = rule;
  if (verdict === 'drop' && chain.type === 'nat') cannot(about, 'its nat table drops nothing');
  if (typeof verdict === 'object' && 'mark' in verdict) cannot(about, 'it looks no mark up in a map');
  const setCalled = (name: string): FirewallSet => frame.sets.find((set) => set.name === name)!;
  const isSpread = ({ is }: FirewallMatch): boolean => 'set' in is && ipsetTypeOf(setCalled(is.set)) === null;
  const through = rule.when
    .filter(isSpread)
    .map(({ fields, not, is }) => ({ by: fields, not, set: (is as { set: string }).set }));
  if (typeof verdict !== 'string') through.push({ by: verdict.dnat.by, not: undefined, set: verdict.dnat.map });
  const own = rule.when.filter((match) => !isSpread(match));
  const [spread, ...more] = through;
  if (spread === undefined) return { main: savedRule(about, edition, own, targetOf(verdict as string)) };
  if (more.length > 0 || spread.not) cannot(about, `no kind of ipset holds "${spread.set}"`);
  return {
    main: savedRule(about, edition, own, spreadName),
    spread: (bySet.get(spread.set) ?? []).map((element) => {
      const values = element.key.split(' . ');
      const when = spread.by.map((field, index) => ({ fields: [field], is: { value: values[index]! } }));
      const target =
        typeof verdict === 'string' ? targetOf(verdict) : `DNAT --to-destination ${element.value!.replace(' . ', ':')}`;
      return savedRule(about, edition, when, target);
    }),
  };
}

const targetOf = (verdict: string): string => verdict.toUpperCase();

/** As `iptables-save` writes it: addresses, links, protocol, then the rest in any order. */
function savedRule(about: string, edition: Edition, when: readonly FirewallMatch[], target: string): string {
  const once = new Map<string, string>();
  const rest: string[] = [];
  for (const { fields, is, not } of when) {
    const negation = not ? '! ' : '';
    if ('set' in is) {
      const set = ipsetName(edition, { name: is.set });
      rest.push(`-m set ${negation}--match-set ${set} ${directionsOf(fields)}`);
      continue;
    }
    const field = fields[0]!;
    const option = OPTION[field];
    const extra = EXTRA[field];
    if (option !== undefined) {
      if (once.has(option)) cannot(about, `a rule looks at "${field}" once`);
      once.set(option, `${negation}${option} ${optionValue(about, field, is.value)}`);
    } else if (extra === undefined || (field === 'ct status' && !/^(?:[sd]nat,?)+$/.test(is.value)))
      cannot(about, `it does not see "${field} ${is.value}"`);
    else rest.push(`-m ${extra.module} ${negation}--${extra.option} ${extra.value(is.value)}`);
  }
  const port = once.get('--dport');
  if (port !== undefined) {
    const protocol = /^-p (\S+)$/.exec(once.get('-p') ?? '')?.[1];
    if (protocol === undefined) cannot(about, 'a port is looked at where the rule names the protocol');
    once.set('--dport', `-m ${protocol} ${port}`);
  }
  const ordered = ['-s', '-d', '-i', '-o', '-p', '--dport'].flatMap((option) => once.get(option) ?? []);
  return [...ordered, ...rest, `-j ${target}`].join(' ');
}

const OPTION: Partial<Record<FirewallMatch['fields'][number], string>> = {
  'ip saddr': '-s',
  'ip daddr': '-d',
  iifname: '-i',
  oifname: '-o',
  'meta l4proto': '-p',
  'th dport': '--dport',
  'th sport': '--sport',
};

function optionValue(about: string, field: FirewallMatch['fields'][number], value: string): string {
  if (value === '0.0.0.0/0') cannot(about, 'a condition that every address meets it does not keep');
  if (TYPE_OF[field] === 'ipv4_addr') return value.includes('/') ? value : `${value}/32`;
  if (TYPE_OF[field] === 'ifname' && (value.endsWith('+') || /["'\\,]/.test(value)))
    cannot(about, `a link called "${value}" it takes for others too`);
  return value;
}

/** In the order in which it saves them. */
const STATES = ['INVALID', 'NEW', 'RELATED', 'ESTABLISHED', 'UNTRACKED', 'SNAT', 'DNAT'];
const states = (value: string): string => {
  const wanted = new Set(value.toUpperCase().split(','));
  return STATES.filter((state) => wanted.has(state)).join(',');
};

const EXTRA: Partial<
  Record<
    FirewallMatch['fields'][number],
    { readonly module: string; readonly option: string; readonly value: (value: string) => string }
  >
> = {
  'ct state': { module: 'conntrack', option: 'ctstate', value: states },
  // Translation is among the states there; the rest of the status nobody here asks for.
  'ct status': { module: 'conntrack', option: 'ctstate', value: states },
  'fib daddr type': { module: 'addrtype', option: 'dst-type', value: (value) => value.toUpperCase() },
};
