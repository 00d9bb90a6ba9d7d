import {
  type FirewallElement,
  type FirewallFamily,
  type FirewallField,
  type FirewallFrame,
  type FirewallMatch,
  type FirewallRule,
  type FirewallSet,
  type FirewallVerdict,
  ruleText,
} from '../../src/host/firewall.ts';
import { chainLine, ruleLine, setKey, setLine } from '../../src/host/firewall-check.ts';
import { differences, type FirewallContents, type FirewallEdit } from './firewall-contents.ts';
import { isFlags, TYPE_OF } from '../../src/host/firewall-values.ts';
import { commentOf } from './nft-comment.ts';

/** Tables of this name are Plimsoll's. */
export const TABLE = 'plimsoll';

export const FAMILIES: readonly FirewallFamily[] = ['bridge', 'inet'];

/** A script for `nft -f`: each of its lines, and the line of the frame that it is about. */
export type NftScript = readonly { readonly text: string; readonly about?: string }[];

/** The script that makes an edit, in one transaction. `present`: the families whose table is there. */
export function scriptOf(edit: FirewallEdit, present: ReadonlySet<FirewallFamily>): NftScript {
  const { frame, after } = edit;
  if (frame === undefined) {
    const { gone, come } = differences(edit);
    return [...elementLines('delete', gone, after), ...elementLines('add', come, after)];
  }
  return FAMILIES.flatMap((family) => {
    const table = frame === null ? [] : tableLines(family, frame);
    // What is not there cannot be deleted: so it is added first.
    const clear = [{ text: `add table ${family} ${TABLE}` }, { text: `delete table ${family} ${TABLE}` }];
    return [...(present.has(family) || table.length > 0 ? clear : []), ...table];
  }).concat(elementLines('add', [...after.elements.values()], after));
}

function tableLines(family: FirewallFamily, { sets, chains }: FirewallFrame): NftScript {
  const ofFamily = <T extends { readonly family: FirewallFamily }>(all: readonly T[]): T[] =>
    all.filter((one) => one.family === family);
  const lines = [
    ...ofFamily(sets).map((set) => ({ text: setText(set), about: setLine(set) })),
    ...ofFamily(chains).flatMap((chain) => [
      {
        text: `chain ${chain.name} { type ${chain.type} hook ${chain.hook} priority ${chain.priority}; policy accept;`,
        about: chainLine(chain),
      },
      ...chain.rules.map((rule) => ({ text: nftRule(rule), about: ruleLine(chain, rule) })),
      { text: '}' },
    ]),
  ];
  // A frame of nothing is still there: as a table of nothing.
  return lines.length === 0 && family !== 'inet'
    ? []
    : [{ text: `table ${family} ${TABLE} {` }, ...lines, { text: '}' }];
}

const typesOf = (fields: readonly FirewallField[]): string => fields.map((field) => TYPE_OF[field]).join(' . ');

/** What a set is for, kept as its comment: its type alone does not tell a source address from a destination. */
export const purposeOf = ({ fields, to }: FirewallSet): string =>
  `${fields.join(' . ')}${to === undefined ? '' : ` : ${to.join(' . ')}`}`;

function setText(set: FirewallSet): string {
  const { name, fields, to, intervals } = set;
  const type = `type ${typesOf(fields)}${to === undefined ? '' : ` : ${typesOf(to)}`};`;
  const flags = intervals ? ' flags interval;' : '';
  return `${to === undefined ? 'set' : 'map'} ${name} { ${type}${flags} comment "${purposeOf(set)}"; }`;
}

/** A rule in nft's language. */
function nftRule(rule: FirewallRule): string {
  const comment = commentOf(rule);
  const words = [...rule.when.map(nftMatch), nftVerdict(rule.verdict)];
  return [...words, ...(comment === undefined ? [] : [`comment "${comment}"`])].join(' ');
}

function nftMatch({ fields, not, is }: FirewallMatch): string {
  const left = fields.join(' . ');
  if ('set' in is) return `${left} ${not ? '!= ' : ''}@${is.set}`;
  const type = TYPE_OF[fields[0]!];
  // `!=` compares all flags at once, and is true of nearly everything; `!` asks that none of these be set.
  const operator = not ? (isFlags(type) ? '! ' : '!= ') : '';
  return `${left} ${operator}${nftValue(fields[0]!, is.value)}`;
}

/** As the port writes it: in nft's own words. */
const nftVerdict = (verdict: FirewallVerdict): string => ruleText({ when: [], verdict });

/** A link's name in quotes; nft takes a `*` at its end for all that begins so, unless it is told not to. */
function nftValue(field: FirewallField, value: string): string {
  if (TYPE_OF[field] !== 'ifname') return value;
  return value.endsWith('*') ? `"${value.slice(0, -1)}\\*"` : `"${value}"`;
}

function elementLines(
  command: 'add' | 'delete',
  elements: readonly FirewallElement[],
  { sets }: FirewallContents,
): NftScript {
  const bySet = Map.groupBy(elements, ({ family, set }) => setKey({ family, name: set }));
  return [...bySet].flatMap(([key, some]) => {
    const set = sets.get(key)!;
    return [
      { text: `${command} element ${set.family} ${TABLE} ${set.name} {` },
      ...some.map((element) => ({ text: `${elementText(set, element, command === 'add')},` })),
      { text: '}' },
    ];
  });
}

function elementText({ fields, to }: FirewallSet, { key, value }: FirewallElement, withValue: boolean): string {
  const joined = (names: readonly FirewallField[], text: string): string =>
    text
      .split(' . ')
      .map((part, index) => nftValue(names[index]!, part))
      .join(' . ');
  return `${joined(fields, key)}${withValue && to && value !== undefined ? ` : ${joined(to, value)}` : ''}`;
}
