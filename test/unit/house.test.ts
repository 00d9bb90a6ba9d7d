import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { violations } from './house.ts';

const root = path.resolve(import.meta.dirname, '../..');
/** What is in the repository or would be with the next commit. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(path.join(root, file)));
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const code = files.filter((file) => /\.(?:ts|js)$/.test(file));
const product = code.filter((file) => /^(?:src|backends)\//.test(file));

describe('imports', () => {
  test('every file of the product imports what its folder may', () => {
    expect(product.length).toBeGreaterThan(50);
    expect(product.flatMap((file) => violations(file, read(file)))).toEqual([]);
  });

  test.for([
    ['src/host/store.ts', "import { createHash } from 'node:crypto';", 'imports node:crypto'],
    ['src/host/store.ts', "import type { Plan } from '../engine/plan.ts';", 'imports ../engine/plan.ts'],
    ['src/host/store.ts', "import { z } from 'zod';", 'imports zod'],
    ['src/memory/rank.ts', "import type { Plan } from '../engine/plan.ts';", 'imports ../engine/plan.ts'],
    ['src/memory/policies/gaia.ts', "export * from '../../scenario/load.ts';", 'imports ../../scenario/load.ts'],
    ['src/memory/rank.ts', 'export const at = Date.now();', 'uses Date'],
    ['src/memory/rank.ts', 'const { now } = Date;', 'uses Date'],
    ['src/memory/rank.ts', 'const x = { Date };', 'uses Date'],
    ['src/memory/rank.ts', 'export const at = new Date();', 'uses Date'],
    ['src/memory/rank.ts', 'export const luck = Math.random();', 'uses Math.random'],
    ['src/memory/rank.ts', "export const luck = Math['random']();", 'uses Math.random'],
    ['src/memory/rank.ts', 'setTimeout(() => {}, 1);', 'uses setTimeout'],
    ['src/tuning/sweep.ts', 'const id = globalThis.crypto.randomUUID();', 'uses globalThis'],
    ['src/tuning/sweep.ts', 'const id = crypto.randomUUID();', 'uses crypto'],
    ['src/engine/engine.ts', 'const t = performance.now() as number;', 'uses performance'],
    ['src/engine/engine.ts', 'if (process.env.HOME) {}', 'uses process'],
    ['src/engine/engine.ts', "await import('node:fs');", 'imports node:fs'],
    ['src/engine/engine.ts', 'const name = "node:fs"; await import(name);', 'imports (computed)'],
    [
      'src/engine/engine.ts',
      "type Host = import('../../backends/sim/host.ts').Host;",
      'imports ../../backends/sim/host.ts',
    ],
    ['src/engine/engine.ts', "import '../commands/run.ts';", 'imports ../commands/run.ts'],
    ['src/engine/engine.ts', "export { run } from '../scenario/run.ts';", 'imports ../scenario/run.ts'],
    ['src/scenario/load.ts', "import { plan } from '../engine/plan.ts';", 'imports ../engine/plan.ts'],
    ['src/scenario/load.ts', "import { readFileSync } from 'node:fs';", 'imports node:fs'],
    ['src/report/plot.ts', "import { gaia } from '../memory/policies/gaia.ts';", 'imports ../memory/policies/gaia.ts'],
    ['src/traces/csv.ts', "import { sweep } from '../tuning/sweep.ts';", 'imports ../tuning/sweep.ts'],
    ['src/tuning/sweep.ts', "import { Engine } from '../engine/engine.ts';", 'imports ../engine/engine.ts'],
    ['backends/sim/clock.ts', "import { linuxClock } from '../linux/clock.ts';", 'imports ../linux/clock.ts'],
    ['backends/linux/clock.ts', "import { rank } from '../../src/memory/rank.ts';", 'imports ../../src/memory/rank.ts'],
    ['backends/linux/clock.ts', "import leftPad from 'left-pad';", 'imports left-pad'],
    ['src/utils/strings.ts', '', 'is in no folder of the house'],
  ] as const)('a planted violation is found: %s: %s', ([file, source, what]) => {
    expect(violations(file, source)).toEqual([`${file}: ${what}`]);
  });

  test.for([
    ['src/memory/rank.ts', "import { bytes } from '../host/units.ts'; import { gaia } from './policies/gaia.ts';"],
    ['src/memory/rank.ts', 'const run = { process: 1, Date: 2 }; run.process; interface Row { Date: string }'],
    ['src/scenario/load.ts', "import type { Plan } from '../engine/plan.ts'; import { z } from 'zod';"],
    ['src/scenario/load.ts', "import { type Plan } from '../engine/plan.ts';"],
    [
      'src/tuning/sweep.ts',
      "import { gaia } from '../memory/policies/gaia.ts'; import { t } from '../traces/trace.ts';",
    ],
    ['backends/linux/clock.ts', "import { open } from 'node:fs/promises'; import { execa } from 'execa';"],
    ['src/commands/run.ts', "import { open } from 'node:fs'; import { simulation } from '../../backends/sim/host.ts';"],
  ] as const)('what is allowed passes: %s: %s', ([file, source]) => {
    expect(violations(file, source)).toEqual([]);
  });
});

/** Files of src/host that are words of the port, not abilities of a host, so that no backend has its own. */
const WORDS = new Set([
  'batch',
  'errors',
  'firewall-check',
  'firewall-values',
  'host',
  'ipv4',
  'random',
  'same',
  'steps',
  'units',
  'vf-drivers',
  'workload',
]);
/** Kept by something else than a file of the same name. */
const KEPT_ELSEWHERE: Readonly<Record<string, string>> = { 'backends/linux/store.ts': 'backends/store/sqlite.ts' };

describe('the same names in three folders', () => {
  const capabilities = product.flatMap((file) => /^src\/host\/(?<name>[^/]+)\.ts$/.exec(file)?.groups?.name ?? []);

  test.for(capabilities.filter((name) => !WORDS.has(name)))('%s is kept by both backends', (name) => {
    for (const backend of ['sim', 'linux']) {
      const own = `backends/${backend}/${name}.ts`;
      expect(product).toContain(KEPT_ELSEWHERE[own] ?? own);
    }
  });

  test('the words of the port are files of it', () => {
    expect([...WORDS].filter((word) => !capabilities.includes(word))).toEqual([]);
  });
});

describe('the text', () => {
  const offending = (pattern: RegExp, among: readonly string[] = files): string[] =>
    among
      .filter((file) => file !== 'package-lock.json' && file !== 'test/unit/house.test.ts')
      .flatMap((file) =>
        read(file)
          .split('\n')
          .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
      );

  test('no file is longer than 400 lines', () => {
    const lengths = code.map((file) => ({ file, lines: read(file).split('\n').length - 1 }));
    expect(lengths.filter(({ lines }) => lines > 400)).toEqual([]);
  });

  test('nothing is left for later', () => {
    expect(offending(/\b(?:TODO|FIXME|XXX)\b|not implemented|\.only\(/, code)).toEqual([]);
  });

  test('no path of one machine and no host of a registry', () => {
    const forbidden = /\/(?:work|farm|home\/[a-z]+|Users\/[a-z]+)\/|https?:\/\/[a-z.-]*(?:npm|debian)[a-z.-]*/;
    expect(offending(forbidden)).toEqual([]);
    expect(read('package-lock.json')).not.toMatch(/"resolved": "https?:\/\/(?!registry\.npmjs\.org\/)/);
  });

  test('every command that the README names is there', () => {
    const readme = read('README.md');
    const scripts = (JSON.parse(read('package.json')) as { scripts: Record<string, string> }).scripts;
    const run = [...readme.matchAll(/npm run (?<name>[\w:-]+)/g)].map((match) => match.groups!['name']!);
    expect(run.filter((name) => !(name in scripts))).toEqual([]);
    const commands = [...readme.matchAll(/(?<![\w./-])plimsoll (?<name>[a-z]+)(?= |`|$)/gm)].map(
      (match) => match.groups!['name']!,
    );
    expect(commands).not.toEqual([]);
    expect([...new Set(commands)].filter((name) => !existsSync(path.join(root, `src/commands/${name}.ts`)))).toEqual(
      [],
    );
    const named = [...readme.matchAll(/`(?<file>(?:src|test|bench|scenarios|backends|\.ci)\/[\w./-]+)`/g)].map(
      (match) => match.groups!['file']!,
    );
    expect(named.filter((file) => !existsSync(path.join(root, file)))).toEqual([]);
  });
});
