// The rules of the house as functions of text, so that the test can plant violations.
import path from 'node:path';
import { parseAst } from 'vitest/node';

/** Imports and uses of globals in one file. */
interface Found {
  /** As written: `./a.ts`, `node:fs`, `zod`. */
  readonly imports: readonly { readonly from: string; readonly typesOnly: boolean }[];
  /** Names that no file of this program gives a meaning: `Date.now`, `setTimeout`. */
  readonly globals: readonly string[];
}

interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Everything outside the language that a pure part may not touch: clocks, chance, the process. */
const IMPURE_GLOBALS = new Set(
  (
    'Date performance process crypto fetch console Atomics WebSocket Worker Buffer ' +
    'setTimeout setInterval setImmediate queueMicrotask globalThis global require'
  ).split(' '),
);

/** Reads a file's imports of every form, and what it takes from the outside world. */
function scan(source: string): Found {
  const imports: { from: string; typesOnly: boolean }[] = [];
  const globals: string[] = [];
  const take = (value: unknown, typesOnly: boolean): void => {
    const literal = value as { readonly type?: string; readonly value?: unknown } | null | undefined;
    if (literal?.type === 'Literal') imports.push({ from: String(literal.value), typesOnly });
    else if (literal) imports.push({ from: '(computed)', typesOnly });
  };
  walk(parseAst(source, { lang: 'ts' }) as unknown as Node, (node, parent, field) => {
    switch (node.type) {
      case 'ImportDeclaration':
        take(node['source'], node['importKind'] === 'type' || allTypes(node['specifiers']));
        break;
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
        take(node['source'], node['exportKind'] === 'type');
        break;
      case 'ImportExpression':
        take(node['source'], false);
        break;
      case 'TSImportType':
        take(node['source'], true);
        break;
      case 'MemberExpression':
        if (name(node['object']) === 'Math' && name(node['property']) === 'random') globals.push('Math.random');
        break;
      case 'Identifier':
        if (IMPURE_GLOBALS.has(String(node['name'])) && isUse(parent, field)) globals.push(String(node['name']));
        break;
    }
  });
  return { imports, globals };
}

const name = (node: unknown): unknown => {
  const { name, value } = node as { name?: string; value?: unknown };
  return name ?? value;
};

const allTypes = (specifiers: unknown): boolean => {
  const all = specifiers as readonly Node[];
  return all.length > 0 && all.every((each) => each['importKind'] === 'type');
};

/** Is a name in this place a use of a variable, not the name of a property, a parameter's label or a type? */
function isUse(parent: Node | null, field: string): boolean {
  if (parent === null) return true;
  if (
    parent.type.startsWith('TS') &&
    !['TSAsExpression', 'TSNonNullExpression', 'TSSatisfiesExpression'].includes(parent.type)
  )
    return false;
  if (parent.type === 'MemberExpression') return field === 'object' || parent['computed'] === true;
  const labels = ['Property', 'MethodDefinition', 'PropertyDefinition'];
  return !(
    labels.includes(parent.type) &&
    field === 'key' &&
    parent['computed'] !== true &&
    parent['shorthand'] !== true
  );
}

function walk(node: Node, visit: (node: Node, parent: Node | null, field: string) => void): void {
  const step = (value: unknown, parent: Node | null, field: string): void => {
    if (Array.isArray(value)) for (const each of value) step(each, parent, field);
    else if (typeof value === 'object' && value !== null && 'type' in value) {
      visit(value as Node, parent, field);
      for (const [key, inner] of Object.entries(value)) if (typeof inner === 'object') step(inner, value as Node, key);
    }
  };
  step(node, null, '');
}

/** A folder and what its files may import. A folder may always import itself. */
interface Rule {
  readonly folder: string;
  /** Folders or files of this repository. */
  readonly may: readonly string[];
  /** Only by `import type`. */
  readonly mayTypes?: readonly string[];
  readonly packages?: readonly string[];
  /** `node:*`, clocks, timers, chance. */
  readonly pure: boolean;
}

/** Subsystems: what they plan for, the engine does. */
const SUBSYSTEMS = ['network', 'egress', 'memory', 'storage', 'view'].map((each) => `src/${each}/`);
const FORMATS = ['zod', 'yaml', 'fastest-levenshtein'];
const DRAWING = ['vega', 'vega-lite', '@resvg/resvg-js'];
const OBSERVED = ['src/host/', 'src/engine/observation.ts'];

/** DESIGN in one table. A file that no row covers is refused. */
const RULES: readonly Rule[] = [
  { folder: 'src/host/', may: [], pure: true },
  ...SUBSYSTEMS.map((folder) => ({ folder, may: ['src/host/'], pure: true })),
  { folder: 'src/engine/', may: ['src/host/', ...SUBSYSTEMS], pure: true },
  {
    folder: 'src/tuning/',
    may: [...OBSERVED, 'src/memory/', 'src/traces/'],
    mayTypes: ['src/engine/'],
    packages: FORMATS,
    pure: true,
  },
  ...['scenario', 'traces', 'report', 'docker', 'dashboard'].map((each) => ({
    folder: `src/${each}/`,
    may: OBSERVED,
    mayTypes: ['src/engine/'],
    packages: [...FORMATS, ...(each === 'report' ? DRAWING : [])],
    pure: false,
  })),
  ...['sim', 'linux', 'store'].map((each) => ({
    folder: `backends/${each}/`,
    may: ['src/host/'],
    packages: ['execa', 'systeminformation', 'koffi', 'zod', ...(each === 'store' ? ['etcd3'] : [])],
    pure: false,
  })),
];

/** May import everything. */
const FREE = ['src/cli.ts', 'src/plimsoll.js', 'src/commands/', 'src/processes/'];

/** What is wrong with one file, each in words; `file` is relative to the repository. */
export function violations(file: string, source: string): string[] {
  if (FREE.some((each) => file.startsWith(each))) return [];
  const rule = RULES.find(({ folder }) => file.startsWith(folder));
  if (rule === undefined) return [`${file}: is in no folder of the house`];
  const { imports, globals } = scan(source);
  const wrong = imports.filter((each) => !allowed(rule, file, each)).map(({ from }) => `${file}: imports ${from}`);
  return rule.pure ? [...wrong, ...[...new Set(globals)].map((each) => `${file}: uses ${each}`)] : wrong;
}

function allowed(rule: Rule, file: string, { from, typesOnly }: Found['imports'][number]): boolean {
  if (from.startsWith('node:')) return !rule.pure && (!file.startsWith('src/') || READS_BYTES.test(from));
  if (!from.startsWith('.')) return (rule.packages ?? []).some((each) => from === each || from.startsWith(`${each}/`));
  const target = path.posix.join(path.posix.dirname(file), from);
  const within = (places: readonly string[]): boolean => places.some((each) => target.startsWith(each));
  return within([rule.folder, ...rule.may]) || (typesOnly && within(rule.mayTypes ?? []));
}

/** Formats and digests work on what they are given. Files and sockets are opened by commands and processes alone. */
const READS_BYTES = /^node:(?:zlib|crypto|util|path|buffer|stream|string_decoder|url)(?:\/|$)/;
