import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '../..');

test('the runner of mutants tells caught, survived, unfitting and already red apart, and leaves the tree alone', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'plimsoll-list-'));
  try {
    const list = path.join(folder, 'planted.json');
    const file = 'src/host/same.ts';
    const find = 'if (Object.is(a, b)) return true;';
    // The test command looks at the copy that it runs in.
    const stillThere = ['grep', '-qF', find, file];
    writeFileSync(
      list,
      JSON.stringify([
        { file, find, replace: '', test: stillThere, why: 'planted to be caught' },
        { file, find, replace: '', test: ['true'], why: 'planted to survive' },
        { file, find: 'no such text', replace: '', test: ['true'], why: 'planted not to fit' },
        { file, find, replace: '', test: ['false'], why: 'planted on a red test' },
      ]),
    );
    const { stdout, exitCode } = await execa(process.execPath, ['test/mutants.ts', list], { cwd: root, reject: false });
    expect(stdout.split('\n')).toEqual([
      `caught: ${file}: planted to be caught`,
      `SURVIVED true: ${file}: planted to survive`,
      `DOES NOT FIT (found 0 times): ${file}: planted not to fit`,
      `RED WITHOUT THE CHANGE (false): ${file}: planted on a red test`,
      '1 caught, 3 not',
    ]);
    expect(exitCode).toBe(1);
    await execa(...([stillThere[0]!, stillThere.slice(1), { cwd: root }] as const));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('every mutant that is kept still fits the code, in one place', () => {
  const lists = readdirSync(path.join(root, 'test/mutants')).map((list) => path.join(root, 'test/mutants', list));
  const mutants = lists.flatMap(
    (list) => JSON.parse(readFileSync(list, 'utf8')) as { file: string; find: string; why: string }[],
  );
  const unfitting = mutants.filter(
    ({ file, find }) => readFileSync(path.join(root, file), 'utf8').split(find).length !== 2,
  );
  expect(unfitting.map(({ file, why }) => `${file}: ${why}`)).toEqual([]);
});
