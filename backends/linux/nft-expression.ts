import { z } from 'zod';
import type { FirewallField, FirewallMatch, FirewallVerdict } from '../../src/host/firewall.ts';
import { isFlags, markText, TYPE_OF, whyNoValue } from '../../src/host/firewall-values.ts';

/** How `nft -j` tells of each field (libnftables-json(5), EXPRESSIONS). */
const EXPRESSION: Readonly<Record<FirewallField, unknown>> = {
  iifname: { meta: { key: 'iifname' } },
  oifname: { meta: { key: 'oifname' } },
  'ether saddr': { payload: { protocol: 'ether', field: 'saddr' } },
  'ether type': { payload: { protocol: 'ether', field: 'type' } },
  'arp saddr ether': { payload: { protocol: 'arp', field: 'saddr ether' } },
  'arp saddr ip': { payload: { protocol: 'arp', field: 'saddr ip' } },
  'ip saddr': { payload: { protocol: 'ip', field: 'saddr' } },
  'ip daddr': { payload: { protocol: 'ip', field: 'daddr' } },
  'meta l4proto': { meta: { key: 'l4proto' } },
  'th dport': { payload: { protocol: 'th', field: 'dport' } },
  'th sport': { payload: { protocol: 'th', field: 'sport' } },
  'meta mark': { meta: { key: 'mark' } },
  'ct state': { ct: { key: 'state' } },
  'ct status': { ct: { key: 'status' } },
  'fib daddr type': { fib: { result: 'type', flags: ['daddr'] } },
};

interface Told {
  readonly field: FirewallField;
  readonly implied?: FirewallMatch;
}

/** After `meta l4proto tcp`, nft tells `th dport` as `tcp dport`, and of the protocol no more. */
const portOf = (protocol: string, field: 'dport' | 'sport'): [string, Told] => [
  JSON.stringify({ payload: { protocol, field } }),
  { field: `th ${field}`, implied: { fields: ['meta l4proto'], is: { value: protocol } } },
];

const FIELD_OF: ReadonlyMap<string, Told> = new Map([
  ...Object.entries(EXPRESSION).map(([field, told]): [string, Told] => [
    JSON.stringify(told),
    { field: field as FirewallField },
  ]),
  ...['tcp', 'udp', 'sctp'].flatMap((protocol) => [portOf(protocol, 'dport'), portOf(protocol, 'sport')]),
]);

const concatenation = z.strictObject({ concat: z.array(z.unknown()) });
const matching = z.strictObject({
  match: z.strictObject({ op: z.enum(['==', '!=', 'in', '!']), left: z.unknown(), right: z.unknown() }),
});
const translation = z.strictObject({
  dnat: z.strictObject({
    family: z.literal('ip'),
    addr: z.strictObject({ map: z.strictObject({ key: z.unknown(), data: z.string().startsWith('@') }) }),
  }),
});
const marking = z.strictObject({
  mangle: z.strictObject({
    key: z.strictObject({ meta: z.strictObject({ key: z.literal('mark') }) }),
    value: z.strictObject({ map: z.strictObject({ key: z.unknown(), data: z.string().startsWith('@') }) }),
  }),
});
const plain = z.union([
  z.strictObject({ accept: z.null() }),
  z.strictObject({ drop: z.null() }),
  z.strictObject({ masquerade: z.null() }),
]);

interface Fields {
  readonly fields: readonly FirewallField[];
  /** Conditions that nft left out because these fields say them. */
  readonly implied: readonly FirewallMatch[];
}

function fieldsOf(told: unknown): Fields | null {
  const joined = concatenation.safeParse(told);
  const found = (joined.success ? joined.data.concat : [told]).map((one) => FIELD_OF.get(JSON.stringify(one)));
  if (!found.every((one) => one !== undefined)) return null;
  return {
    fields: found.map(({ field }) => field),
    implied: found.flatMap(({ implied }) => (implied === undefined ? [] : [implied])),
  };
}

/** A condition as nft told it; null where Plimsoll could not have written it. */
export function listedMatch(told: unknown): { match: FirewallMatch; implied: readonly FirewallMatch[] } | null {
  const { success, data } = matching.safeParse(told);
  const left = success ? fieldsOf(data.match.left) : null;
  if (!success || left === null) return null;
  const { op, right } = data.match;
  const { fields, implied } = left;
  const not = op === '!=' || op === '!' ? ({ not: true } as const) : {};
  if (typeof right === 'string' && right.startsWith('@') && (op === '==' || op === '!='))
    return { match: { fields, ...not, is: { set: right.slice(1) } }, implied };
  const type = TYPE_OF[fields[0]!];
  // Of flags, `==` and `!=` would compare all of them at once.
  if (fields.length > 1 || isFlags(type) !== (op === 'in' || op === '!')) return null;
  const value = type === 'ifname' ? linkName(right) : valueOf(right, [type]);
  if (value === null || whyNoValue(type, value, true) !== null) return null;
  return { match: { fields, ...not, is: { value } }, implied };
}

/** In a rule a `*` at the end stands for all that begins so, unless a `\` says that it is one. */
function linkName(told: unknown): string | null {
  if (typeof told !== 'string' || !told.endsWith('*')) return typeof told === 'string' ? told : null;
  return told.endsWith('\\*') ? `${told.slice(0, -2)}*` : null;
}

/** A verdict as nft told it; null where Plimsoll could not have written it. */
export function listedVerdict(told: unknown): { verdict: FirewallVerdict; implied: readonly FirewallMatch[] } | null {
  const said = plain.safeParse(told);
  if (said.success) return { verdict: Object.keys(said.data)[0] as 'accept' | 'drop' | 'masquerade', implied: [] };
  const translated = translation.safeParse(told);
  const marked = marking.safeParse(told);
  const found = translated.success ? translated.data.dnat.addr.map : marked.data?.mangle.value.map;
  const by = found === undefined ? null : fieldsOf(found.key);
  if (found === undefined || by === null) return null;
  const looked = { map: found.data.slice(1), by: by.fields };
  return { verdict: translated.success ? { dnat: looked } : { mark: looked }, implied: by.implied };
}

/**
 * A value as nft told it, in the words of its language; what Plimsoll could not have written, as it was told. `types`: of
 * its parts, in nft's words.
 */
export function valueOf(told: unknown, types: readonly string[]): string {
  if (typeof told === 'string') return told;
  if (typeof told === 'number') return types[0] === 'mark' ? markText(told) : String(told);
  if (Array.isArray(told)) return told.map((one) => valueOf(one, types)).join(',');
  const { concat, prefix, range, ...others } = compound.parse(told);
  if (Object.keys(others).length > 0) return JSON.stringify(told);
  if (concat !== undefined)
    return concat.map((part, index) => valueOf(part, types.slice(index, index + 1))).join(' . ');
  if (prefix !== undefined) return `${valueOf(prefix.addr, types)}/${prefix.len}`;
  return range === undefined ? JSON.stringify(told) : range.map((end) => valueOf(end, types)).join('-');
}

/** One of these; anything else is nothing that an element of Plimsoll's is made of. */
const compound = z.looseObject({
  concat: z.array(z.unknown()).optional(),
  prefix: z.strictObject({ addr: z.unknown(), len: z.number() }).optional(),
  range: z.tuple([z.unknown(), z.unknown()]).optional(),
});
