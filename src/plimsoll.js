#!/usr/bin/env node
// The bin. A clone runs the TypeScript as it stands (Node >= 24 strips the types); an installed package runs what
// `npm run build` made, because Node refuses to strip types under node_modules.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(import.meta.url);
const installed = fileURLToPath(new URL('../dist/src/cli.js', import.meta.url));
const ownNode = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));

if (Number.parseInt(process.versions.node, 10) >= 24) {
  await import(here.includes('/node_modules/') && existsSync(installed) ? installed : './cli.ts');
} else if (existsSync(ownNode)) {
  const child = spawn(ownNode, [here, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to both: a second one would end the child before it has cleaned up.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
} else {
  process.stderr.write(
    `plimsoll: Node ${process.versions.node} is too old: it needs Node >= 24; in a clone run npm ci, which brings one\n`,
  );
  process.exitCode = 3;
}
