import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';

/**
 * Makes JavaScript of the whole checkout, and returns its folder: in the guest stripping types takes longer than all the
 * rest of a start, and every container of a test is a start.
 */
export async function javascriptOf(checkout: string): Promise<string> {
  const into = path.join(checkout, 'node_modules', '.cache', 'plimsoll-guest');
  await rm(into, { recursive: true, force: true });
  await mkdir(into, { recursive: true });
  // Under node_modules the checkout's own package.json is out of reach; commands tell its version.
  await writeFile(path.join(into, 'package.json'), '{ "type": "module", "version": "0.0.0-guest" }\n');
  const compiler = path.join(checkout, 'node_modules', '.bin', 'tsc');
  await execa(compiler, ['-p', checkout, '--noEmit', 'false', '--outDir', into, '--rootDir', checkout], {
    // It emits where types are wrong, too; saying so is for `npm run check`.
    reject: false,
    preferLocal: true,
  });
  return into;
}
