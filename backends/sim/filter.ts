import { HostError } from '../../src/host/errors.ts';
import {
  frameLines,
  ruleText,
  type FirewallChain,
  type FirewallFamily,
  type FirewallField,
  type FirewallFrame,
  type FirewallMatch,
  type FirewallRule,
} from '../../src/host/firewall.ts';
import { ruleLine } from '../../src/host/firewall-check.ts';
import { AddressError } from '../../src/host/ipv4.ts';
import { dependencyOf, isBitField, parseValue } from './fields.ts';
import { checkModelled } from './filter-check.ts';
import { Hooked } from './hooked.ts';
import type { Network } from './network.ts';
import type { Chain, Condition, Rule } from './rules.ts';
import { fieldNumbers, NamedSet } from './sets.ts';

export const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const;
export type Hook = (typeof HOOKS)[number];

/** Where translation sits among the filter chains of a hook (NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC: uapi/linux/netfilter_ipv4.h). */
const NAT_PRIORITY: Readonly<Record<Hook, number>> = {
  prerouting: -100,
  input: 100,
  forward: 0,
  output: -100,
  postrouting: 100,
};

/** A frame that is laid: its lines, sets and chains. */
export interface HostFilter {
  readonly lines: readonly string[];
  readonly sets: ReadonlyMap<string, NamedSet>;
  readonly inet: Readonly<Record<Hook, Hooked>>;
  readonly bridge: Readonly<Record<Hook, Hooked>>;
  /** Some rule asks what flow a packet is of, or translates: else nothing need be tracked. */
  readonly tracks: boolean;
}

/** Makes a frame ready, its sets empty. @throws HostError EINVAL, EOPNOTSUPP */
export function layFrame(network: Network, frame: FirewallFrame): HostFilter {
  checkModelled(frame);
  const sets = new Map(frame.sets.map((set) => [setName(set.family, set.name), new NamedSet(network, set)]));
  const chains = frame.chains.map((spec) => ({
    spec,
    rules: spec.rules.map((rule) => compileRule(network, spec, rule, sets)),
  }));
  return {
    lines: frameLines(frame),
    sets,
    inet: hooksOf(chains, 'inet'),
    bridge: hooksOf(chains, 'bridge'),
    tracks: frame.chains.some(
      ({ type, rules }) =>
        type === 'nat' || rules.some(({ when }) => when.some(({ fields }) => fields.some(isBitField))),
    ),
  };
}

const hooksOf = (chains: readonly Chain[], family: FirewallFamily): Record<Hook, Hooked> =>
  Object.fromEntries(
    HOOKS.map((hook) => {
      const here = chains
        .filter(({ spec }) => spec.family === family && spec.hook === hook)
        .sort((a, b) => a.spec.priority - b.spec.priority);
      const filters = here.filter(({ spec }) => spec.type === 'filter');
      return [
        hook,
        new Hooked(
          filters.filter(({ spec }) => spec.priority < NAT_PRIORITY[hook]),
          here.filter(({ spec }) => spec.type === 'nat'),
          filters.filter(({ spec }) => spec.priority >= NAT_PRIORITY[hook]),
        ),
      ];
    }),
  ) as unknown as Record<Hook, Hooked>;

/** The name of a set among all: families have sets of their own. */
export const setName = (family: FirewallFamily, name: string): string => `${family} ${name}`;

function compileRule(
  network: Network,
  chain: FirewallChain,
  rule: FirewallRule,
  sets: ReadonlyMap<string, NamedSet>,
): Rule {
  const { verdict } = rule;
  const looked = typeof verdict === 'string' ? null : 'mark' in verdict ? verdict.mark : verdict.dnat;
  try {
    return {
      conditions: rule.when.map((match) => compileMatch(network, chain.family, match, sets)),
      verdict,
      map: looked && sets.get(setName(chain.family, looked.map))!.root,
      by: looked ? fieldNumbers(looked.by) : [],
      etherType: looked ? etherTypeOf(looked.by) : 0,
      text: ruleText(rule),
    };
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    throw new HostError('EINVAL', 'firewall.apply', ruleLine(chain, rule), { detail: error.message, cause: error });
  }
}

/** What nft puts before a rule that looks at these. */
const etherTypeOf = (fields: readonly FirewallField[]): number =>
  fields.map(dependencyOf).find((type) => type !== 0) ?? 0;

/** @throws AddressError where its value is none of its field */
function compileMatch(
  network: Network,
  family: FirewallFamily,
  { fields, not, is }: FirewallMatch,
  sets: ReadonlyMap<string, NamedSet>,
): Condition {
  const field = fields[0]!;
  return {
    etherType: etherTypeOf(fields),
    fields: fieldNumbers(fields),
    not: not === true,
    among: 'set' in is ? sets.get(setName(family, is.set))!.root : null,
    ...('value' in is ? parseValue(network, field, is.value) : { value: 0, mask: -1 }),
    bits: isBitField(field),
  };
}
