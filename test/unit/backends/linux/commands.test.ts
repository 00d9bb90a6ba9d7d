import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CgroupLayout } from '../../../../backends/linux/cgroup-layout.ts';
import { type CommandPlace, commandOf } from '../../../../backends/linux/commands.ts';
import { quote } from '../../../../backends/linux/quote.ts';
import type { Step } from '../../../../src/host/steps.ts';
import { bytes } from '../../../../src/host/units.ts';

const entries = { workload: '/opt/plim soll/workload.ts', supervisor: '/opt/plim soll/memory-supervisor.ts' };
const V1: CgroupLayout = { version: 1, memoryMount: '/cg/memory', freezerMount: '/cg/freezer' };
const V2: CgroupLayout = { version: 2, mount: '/cg' };
const at = (layout: CgroupLayout, root = 'plimsoll'): CommandPlace => ({ layout, root, entries });
const create = (path: string): Step => ({ verb: 'cgroups.create', with: { path }, why: '' });
const limit = (limitBytes: number | null): Step => ({
  verb: 'cgroups.limit',
  with: { path: 'containers/web', limitBytes: limitBytes === null ? null : bytes(limitBytes) },
  why: '',
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "plimsoll it's a test "));
});
afterEach(() => rmSync(folder, { recursive: true }));

const shell = (commands: readonly string[]): string =>
  execFileSync('sh', ['-e', '-c', commands.join('\n')], { encoding: 'utf8' });

test('v1 makes a cgroup in both hierarchies, v2 in one, enabling memory above it', () => {
  expect(commandOf(create('containers/web'), at(V1))).toEqual([
    'mkdir -p /cg/memory/plimsoll/containers/web /cg/freezer/plimsoll/containers/web',
  ]);
  expect(commandOf(create('containers/web'), at(V2))).toEqual([
    'mkdir -p /cg/plimsoll/containers',
    'echo +memory > /cg/plimsoll/containers/cgroup.subtree_control',
    'mkdir -p /cg/plimsoll/containers/web',
  ]);
});

test('a limit is written in the words of each version, and taken off', () => {
  const lines = (step: Step): string[] => [V1, V2].flatMap((layout) => commandOf(step, at(layout)));
  expect(lines(limit(1048576))).toEqual([
    'echo 1048576 > /cg/memory/plimsoll/containers/web/memory.limit_in_bytes',
    'echo 1048576 > /cg/plimsoll/containers/web/memory.max',
  ]);
  expect(lines(limit(null))).toEqual([
    'echo -1 > /cg/memory/plimsoll/containers/web/memory.limit_in_bytes',
    'echo max > /cg/plimsoll/containers/web/memory.max',
  ]);
});

test('what is printed runs in a shell, whatever is in a path', () => {
  const layout: CgroupLayout = {
    version: 1,
    memoryMount: join(folder, 'me$mory'),
    freezerMount: join(folder, 'free;zer'),
  };
  const place = at(layout, 'ro"ot');
  shell(commandOf(create('pen/a'), place));
  const web = join(layout.memoryMount, 'ro"ot/pen/a');
  expect(existsSync(web)).toBe(true);
  shell(commandOf({ verb: 'cgroups.limit', with: { path: 'pen/a', limitBytes: bytes(4096) }, why: '' }, place));
  expect(readFileSync(join(web, 'memory.limit_in_bytes'), 'utf8')).toBe('4096\n');
  rmSync(join(web, 'memory.limit_in_bytes'));
  shell(commandOf({ verb: 'cgroups.remove', with: 'pen/a', why: '' }, place));
  expect(existsSync(web)).toBe(false);
  expect(existsSync(join(layout.freezerMount, 'ro"ot/pen/a'))).toBe(false);
});

test('a stop kills what is in the cgroup of that name, and no other', () => {
  const place = at({ version: 2, mount: folder });
  for (const name of ['web', 'other']) mkdirSync(join(folder, 'plimsoll/containers', name), { recursive: true });
  shell(commandOf({ verb: 'containers.stop', with: 'web', why: '' }, place));
  expect(readFileSync(join(folder, 'plimsoll/containers/web/cgroup.kill'), 'utf8')).toBe('1\n');
  expect(existsSync(join(folder, 'plimsoll/containers/other/cgroup.kill'))).toBe(false);
});

test('containers and supervisors are started by the programs the product itself starts', () => {
  const start: Step = {
    verb: 'containers.start',
    with: {
      name: 'web',
      cgroup: 'containers/web',
      workload: { memory: { kind: 'constant', bytes: bytes(4096) }, processes: 2 },
    },
    why: '',
  };
  const lines = commandOf(start, at(V2));
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^setsid node '\/opt\/plim soll\/workload.ts' '\{.*\}' &$/);
  const release = commandOf({ verb: 'supervision.release', with: 'containers', why: '' }, at(V2));
  expect(release[0]).toMatch(/^rm -f .*\/plimsoll\/supervisors\/containers\/order.json$/);
});

test.for(['plain', 'two words', "it's", '$HOME `id` "x" \\', '', 'new\nline', '-n'])(
  'quote(%j) is one word to a shell',
  (word) => {
    writeFileSync(join(folder, 'args.sh'), 'printf "%s|%s" "$#" "$1"');
    expect(shell([`sh ${quote(join(folder, 'args.sh'))} ${quote(word)}`])).toBe(`1|${word}`);
  },
);
