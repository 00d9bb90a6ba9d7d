import { existsSync, readFileSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { z } from 'zod';

/**
 * Which code ran: the commit of the clone, `-dirty` where the tree has changes, or `plimsoll@VERSION` for an installed
 * package (which may lie inside somebody else's clone).
 */
export async function readCommit(root = packageRoot()): Promise<string> {
  const git = (...words: string[]) => execa('git', words, { cwd: root, reject: false });
  const top = await git('rev-parse', '--show-toplevel');
  if (top.failed || (await realpath(top.stdout)) !== (await realpath(root))) return `plimsoll@${versionOf(root)}`;
  const [head, status] = await Promise.all([git('rev-parse', 'HEAD'), git('status', '--porcelain')]);
  if (head.failed) return `plimsoll@${versionOf(root)}`;
  return `${head.stdout}${status.stdout === '' ? '' : '-dirty'}`;
}

/** The folder that holds package.json, from src as from dist. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

const versionOf = (root: string): string =>
  z.object({ version: z.string() }).parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))).version;
