import { z } from 'zod';
import {
  type FirewallElement,
  type FirewallFamily,
  type FirewallMatch,
  type FirewallRule,
  type FirewallSet,
  ruleText,
} from '../../src/host/firewall.ts';
import { setKey, setLine } from '../../src/host/firewall-check.ts';
import { type FirewallContents, NOTHING, placeOf } from './firewall-contents.ts';
import { TYPE_OF } from '../../src/host/firewall-values.ts';
import { asWritten } from './nft-comment.ts';
import { listedMatch, listedVerdict, valueOf } from './nft-expression.ts';
import { purposeOf, TABLE } from './nft-text.ts';
import { parseFields } from './rule-text.ts';

const listing = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });
const text = z.string();
const handle = z.number();

/** Strict: a property that Plimsoll never gives makes it somebody else's doing. */
const setShape = z.strictObject({
  family: text,
  name: text,
  table: text,
  handle,
  type: z.union([text, z.array(text)]),
  map: text.optional(),
  comment: text.optional(),
  flags: z.tuple([z.literal('interval')]).optional(),
  elem: z.array(z.unknown()).optional(),
});
const chainShape = z.strictObject({
  family: text,
  table: text,
  name: text,
  handle,
  type: z.enum(['filter', 'nat']),
  hook: text,
  prio: z.number(),
  policy: z.literal('accept'),
});
const ruleShape = z.strictObject({
  family: text,
  table: text,
  chain: text,
  handle,
  comment: text.optional(),
  expr: z.array(z.unknown()),
});
const named = z.object({ name: text });
const ofChain = z.object({ chain: text });

/** What is in one table, each thing in a line of the frame. */
export interface TableListing {
  readonly setLines: readonly string[];
  /** In order of chain. */
  readonly chainLines: readonly string[];
  /** Of what Plimsoll never makes. */
  readonly otherLines: readonly string[];
  readonly sets: readonly FirewallSet[];
  readonly elements: readonly FirewallElement[];
}

/** Takes apart what `nft -j list table` told of one table; its flags it does not tell. */
export function readListing(family: FirewallFamily, flags: number, output: string): TableListing {
  const sets: FirewallSet[] = [];
  const elements: FirewallElement[] = [];
  const setLines: string[] = [];
  const chainLines = new Map<string, string[]>();
  const otherLines = flags === 0 ? [] : [`${family} table ${TABLE}: flags ${flags}`];
  for (const object of listing.parse(JSON.parse(output)).nftables) {
    const [kind, told] = Object.entries(object)[0]!;
    if (kind === 'set' || kind === 'map') {
      const set = readSet(family, told);
      if (set !== null) sets.push(set);
      setLines.push(set === null ? `${family} ${kind} ${nameOf(told)}: ${bare(told)}` : setLine(set));
      elements.push(...readElements(family, told));
    } else if (kind === 'chain') {
      chainLines.set(nameOf(told), [readChain(family, told)]);
    } else if (kind === 'rule') {
      const { chain } = ofChain.parse(told);
      chainLines.get(chain)!.push(`${family} chain ${chain}: ${readRule(told)}`);
    } else if (kind !== 'metainfo' && kind !== 'table') {
      otherLines.push(`${family} ${kind} ${nameOf(told)}: ${bare(told)}`);
    }
  }
  const inOrder = [...chainLines].sort(([a], [b]) => (a < b ? -1 : 1));
  return { setLines, chainLines: inOrder.flatMap(([, lines]) => lines), otherLines, sets, elements };
}

/** What is in all our tables, in the order of `frameLines`; where there is none, nothing. */
export function contentsOf(tables: readonly TableListing[]): FirewallContents {
  if (tables.length === 0) return NOTHING;
  return {
    lines: [
      ...tables.flatMap(({ setLines }) => setLines).sort(),
      ...tables.flatMap(({ chainLines }) => chainLines),
      ...tables.flatMap(({ otherLines }) => otherLines),
    ],
    sets: new Map(tables.flatMap(({ sets }) => sets.map((set) => [setKey(set), set]))),
    elements: new Map(tables.flatMap(({ elements }) => elements.map((one) => [placeOf(one), one]))),
  };
}

const nameOf = (told: unknown): string => named.parse(told).name;

/** As the tool tells it, less what says where and not what it is. */
const NO_MATTER = new Set(['family', 'table', 'name', 'chain', 'handle', 'elem']);
const bare = (told: unknown): string =>
  JSON.stringify(told, (key, value: unknown) => (NO_MATTER.has(key) ? undefined : value));

function readSet(family: FirewallFamily, told: unknown): FirewallSet | null {
  const { success, data } = setShape.safeParse(told);
  if (!success || data.comment === undefined) return null;
  const [key = '', destination, ...rest] = data.comment.split(' : ');
  const fields = parseFields(key);
  const to = destination === undefined ? undefined : parseFields(destination);
  if (fields === null || to === null || rest.length > 0) return null;
  const set: FirewallSet = {
    family,
    name: data.name,
    fields,
    ...(data.flags === undefined ? {} : { intervals: true }),
    ...(to === undefined ? {} : { to }),
  };
  const types = (of: typeof fields | undefined): string | undefined => of?.map((field) => TYPE_OF[field]).join(' . ');
  const isSo = [data.type].flat().join(' . ') === types(fields) && data.map === types(to);
  return isSo && purposeOf(set) === data.comment ? set : null;
}

const elementsOf = z.object({
  name: text,
  type: z.union([text, z.array(text)]),
  map: text.optional(),
  elem: z.array(z.unknown()).optional(),
});

function* readElements(family: FirewallFamily, told: unknown): Generator<FirewallElement> {
  const { name, type, map, elem = [] } = elementsOf.parse(told);
  const types = [type].flat();
  for (const one of elem) {
    if (map === undefined) yield { family, set: name, key: valueOf(one, types) };
    else {
      const [key, value] = z.tuple([z.unknown(), z.unknown()]).parse(one);
      yield { family, set: name, key: valueOf(key, types), value: valueOf(value, map.split(' . ')) };
    }
  }
}

function readChain(family: FirewallFamily, told: unknown): string {
  const { success, data } = chainShape.safeParse(told);
  const name = nameOf(told);
  return success
    ? `${family} chain ${name}: ${data.type} hook ${data.hook} priority ${data.prio}`
    : `${family} chain ${name}: ${bare(told)}`;
}

function readRule(told: unknown): string {
  const { success, data } = ruleShape.safeParse(told);
  const rule = success ? ruleFrom(data.expr) : null;
  if (!success || rule === null) return bare(told);
  if (data.comment === undefined) return ruleText(rule);
  const written = asWritten(rule, data.comment);
  return written === null ? bare(told) : ruleText(written);
}

function ruleFrom(expressions: readonly unknown[]): FirewallRule | null {
  const verdict = listedVerdict(expressions.at(-1));
  if (verdict === null) return null;
  const when: FirewallMatch[] = [...verdict.implied];
  for (const expression of expressions.slice(0, -1)) {
    const match = listedMatch(expression);
    if (match === null) return null;
    when.push(...match.implied, match.match);
  }
  return { when, verdict: verdict.verdict };
}
