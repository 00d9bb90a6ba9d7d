import { type FirewallMatch, type FirewallRule, ruleText } from '../../src/host/firewall.ts';
import { parseMatch } from './rule-text.ts';

/** Longer ones nft refuses (NFTNL_UDATA_COMMENT_MAXLEN, less its closing zero). */
const COMMENT_LENGTH_MAX = 127;

/**
 * nft does not tell a rule quite as it was written: it leaves out a protocol that another condition implies, and sorts
 * flags and the fields of ARP. A comment says which conditions of that kind were written, and where among the others:
 * `1 ether type ip; 3 meta l4proto udp`. Undefined where there is nothing to say.
 */
export function commentOf({ when }: FirewallRule): string | undefined {
  const said = when.flatMap((match, index) => (mayBeToldOtherwise(match) ? [`${index} ${conditionText(match)}`] : []));
  const comment = said.join('; ');
  return said.length === 0 || comment.length > COMMENT_LENGTH_MAX ? undefined : comment;
}

const mayBeToldOtherwise = ({ fields, is }: FirewallMatch): boolean =>
  'value' in is && fields.some((field) => /^(?:meta l4proto|ether type|arp |ct )/.test(field));

const conditionText = (match: FirewallMatch): string =>
  ruleText({ when: [match], verdict: 'accept' }).slice(0, -' accept'.length);

/** The rule as it was written, from what nft told and its comment; null where the two cannot be of one rule. */
export function asWritten(told: FirewallRule, comment: string): FirewallRule | null {
  const when = [...told.when];
  const written: { readonly index: number; readonly match: FirewallMatch }[] = [];
  for (const part of comment.split('; ')) {
    const [, index, text] = /^(\d+) (.+)$/.exec(part) ?? [];
    const match = text === undefined ? null : parseMatch(text);
    if (match === null || !mayBeToldOtherwise(match)) return null;
    const at = when.findIndex((one) => meaning(one) === meaning(match));
    if (at >= 0) when.splice(at, 1);
    else if (!isImplied(match, told)) return null;
    written.push({ index: Number(index), match });
  }
  for (const { index, match } of written) when.splice(index, 0, match);
  return { ...told, when };
}

/** Flags mean the same in any order. */
const meaning = (match: FirewallMatch): string =>
  conditionText('value' in match.is ? { ...match, is: { value: match.is.value.split(',').sort().join(',') } } : match);

/** Said by something else of the rule, that looks into a header of that protocol. */
function isImplied(match: FirewallMatch, { when, verdict }: FirewallRule): boolean {
  const protocol = /^ether type (ip|arp)$/.exec(conditionText(match))?.[1];
  const looked = typeof verdict === 'string' ? [] : 'mark' in verdict ? verdict.mark.by : verdict.dnat.by;
  const fields = [...when.flatMap((other) => other.fields), ...looked];
  return protocol !== undefined && fields.some((field) => field.startsWith(`${protocol} `));
}
