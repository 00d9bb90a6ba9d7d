import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, expect, test } from 'vitest';
import { readCommit } from '../../../src/commands/commit.ts';

const folder = mkdtempSync(join(tmpdir(), 'plimsoll-commit-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the commit of a clone, dirty or not; the version of a package, also inside a clone of something else', async () => {
  const git = (...words: string[]) =>
    execa('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...words], { cwd: folder });
  writeFileSync(join(folder, 'package.json'), '{ "version": "1.2.3" }');
  expect(await readCommit(folder)).toBe('plimsoll@1.2.3');
  await git('init', '-q');
  await git('add', '.');
  await git('commit', '-q', '-m', 'first');
  const head = (await git('rev-parse', 'HEAD')).stdout;
  expect(await readCommit(folder)).toBe(head);
  const inner = join(folder, 'node_modules', 'plimsoll');
  mkdirSync(inner, { recursive: true });
  writeFileSync(join(inner, 'package.json'), '{ "version": "4.5.6" }');
  expect(await readCommit(inner)).toBe('plimsoll@4.5.6');
  expect(await readCommit(folder)).toBe(`${head}-dirty`);
});
