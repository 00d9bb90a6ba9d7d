/** Chains of ours begin so, and sets. */
export const OURS = 'PLIMSOLL';

/** By this comment the jumps to them are known. */
const MARK = 'plimsoll';

/** What is ours in one table of iptables. */
export interface IptablesTable {
  /** By built-in chain: our chains that it jumps to before anything else, in order. */
  readonly jumps: ReadonlyMap<string, readonly string[]>;
  /** Built-in chains, and their jumps to chains of ours that stand after others' rules. */
  readonly late: ReadonlyMap<string, readonly string[]>;
  /** By name: rules in order, as `iptables-save` writes them after `-A NAME `. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

export type IptablesLayout = ReadonlyMap<string, IptablesTable>;

const EMPTY: IptablesTable = { jumps: new Map(), late: new Map(), chains: new Map() };

const jump = (chain: string): string => `-m comment --comment ${MARK} -j ${chain}`;

/** What is ours in the words of `iptables-save`. */
export function parseSave(output: string): IptablesLayout {
  const layout = new Map<string, IptablesTable>();
  for (const section of output.split(/^\*/m).slice(1)) {
    const [table = '', ...lines] = section.split('\n');
    const chains = new Map<string, string[]>();
    const builtins = new Map<string, string[]>();
    for (const line of lines) {
      const declared = /^:(\S+) (\S+)/.exec(line);
      if (declared !== null) (declared[2] === '-' ? chains : builtins).set(declared[1]!, []);
      const rule = /^-A (\S+) ?(.*)$/.exec(line);
      if (rule !== null) (chains.get(rule[1]!) ?? builtins.get(rule[1]!))!.push(rule[2]!);
    }
    layout.set(table, {
      ...jumpsOf(builtins),
      chains: new Map([...chains].filter(([name]) => name.startsWith(OURS))),
    });
  }
  return layout;
}

function jumpsOf(builtins: ReadonlyMap<string, readonly string[]>): Pick<IptablesTable, 'jumps' | 'late'> {
  const jumps = new Map<string, string[]>();
  const late = new Map<string, string[]>();
  for (const [name, rules] of builtins) {
    const targets = rules.map((rule) => (rule.startsWith(jump(OURS)) ? rule.slice(jump('').length) : null));
    const others = targets.indexOf(null);
    const split = others === -1 ? targets.length : others;
    const ours = (some: readonly (string | null)[]): string[] => some.filter((target) => target !== null);
    if (split > 0) jumps.set(name, ours(targets.slice(0, split)));
    const rest = ours(targets.slice(split));
    if (rest.length > 0) late.set(name, rest);
  }
  return { jumps, late };
}

const same = (a: readonly string[] = [], b: readonly string[] = []): boolean =>
  a.length === b.length && a.every((one, index) => one === b[index]);

const tablesOf = (...layouts: readonly IptablesLayout[]): string[] => [
  ...new Set(layouts.flatMap((layout) => [...layout.keys()])),
];

/** The input of `iptables-restore --noflush` that makes one of the other; empty where they are the same. */
export function scriptBetween(from: IptablesLayout, to: IptablesLayout): string {
  return tablesOf(from, to)
    .map((table) => {
      const lines = tableScript(from.get(table) ?? EMPTY, to.get(table) ?? EMPTY);
      return lines.length === 0 ? '' : [`*${table}`, ...lines, 'COMMIT', ''].join('\n');
    })
    .join('');
}

function tableScript(from: IptablesTable, to: IptablesTable): string[] {
  const gone = [...from.chains.keys()].filter((name) => !to.chains.has(name));
  const changed = [...to.chains].filter(
    ([name, rules]) => !from.chains.has(name) || !same(from.chains.get(name), rules),
  );
  const builtins = new Set([...from.jumps.keys(), ...from.late.keys(), ...to.jumps.keys()]);
  const hooked = [...builtins].filter((name) => from.late.has(name) || !same(from.jumps.get(name), to.jumps.get(name)));
  return [
    // Declared, a chain is made, or emptied.
    ...[...gone, ...changed.map(([name]) => name)].map((name) => `:${name} - [0:0]`),
    ...hooked.flatMap((name) =>
      [...(from.jumps.get(name) ?? []), ...(from.late.get(name) ?? [])].map((chain) => `-D ${name} ${jump(chain)}`),
    ),
    ...hooked.flatMap((name) =>
      (to.jumps.get(name) ?? []).map((chain, index) => `-I ${name} ${index + 1} ${jump(chain)}`),
    ),
    ...changed.flatMap(([name, rules]) => rules.map((rule) => `-A ${name} ${rule}`)),
    ...gone.map((name) => `-X ${name}`),
  ];
}

/** Where what is there is not what it should be, a line a chain. */
export function strayLines(actual: IptablesLayout, expected: IptablesLayout): string[] {
  return tablesOf(actual, expected).flatMap((table) => {
    const [is, should] = [actual.get(table) ?? EMPTY, expected.get(table) ?? EMPTY];
    const compare = (
      a: ReadonlyMap<string, readonly string[]>,
      b: ReadonlyMap<string, readonly string[]>,
      what: string,
    ): string[] =>
      [...new Set([...a.keys(), ...b.keys()])].flatMap((name) =>
        a.has(name) === b.has(name) && same(a.get(name), b.get(name))
          ? []
          : [`iptables ${table} ${name}${what}: ${a.get(name)?.join(' | ') ?? 'not there'}`],
      );
    return [
      ...compare(is.jumps, should.jumps, ' jumps'),
      ...compare(is.late, should.late, ' jumps late'),
      ...compare(is.chains, should.chains, ''),
    ];
  });
}
