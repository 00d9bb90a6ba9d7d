import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, expect, test } from 'vitest';
import { LineProcess } from '../../../../backends/linux/line-process.ts';

const scratch = mkdtempSync(join(tmpdir(), 'line-process-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const program = (name: string, text: string): string => {
  const path = join(scratch, `${name}.mjs`);
  writeFileSync(path, text);
  return path;
};
/** Answers each line with itself, and dies of "die" with a last word. */
const ECHO = program(
  'echo',
  `import { readSync, writeSync } from 'node:fs';
const bytes = Buffer.alloc(1000);
for (;;) {
  const length = readSync(3, bytes);
  if (length === 0) process.exit(0);
  const line = bytes.toString('utf8', 0, length);
  if (line === 'die\\n') { writeSync(2, 'of something\\n'); process.exit(1); }
  writeSync(3, line);
}`,
);
const obituary = (why: string): Error => new Error(`it has ended: ${why}`);

test('it answers a line with a line, and whoever waits is told of its end by its last words', async () => {
  let ends = 0;
  const lines = new LineProcess({ entry: ECHO, obituary, onEnd: () => ends++ });
  expect(await lines.ask('one')).toBe('one');
  await expect(lines.ask('die')).rejects.toThrow('it has ended: of something');
  await expect(lines.ask('two')).rejects.toThrow('it has ended: of something');
  expect(ends).toBeGreaterThan(0);
});

test('one that is killed while it is asked leaves an answer for whoever waits, and nothing unhandled', async () => {
  const lines = new LineProcess({ entry: ECHO, obituary });
  expect(await lines.ask('one')).toBe('one');
  process.kill(lines.pid!, 'SIGKILL');
  await expect(lines.ask('x'.repeat(100))).rejects.toThrow('it has ended: by SIGKILL');
  await lines.end();
});

/** The same, with something that holds its last words back for a moment after it has died. */
const HELD = program(
  'held',
  `import { spawn } from 'node:child_process';
spawn('sleep', ['0.5'], { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
await import(${JSON.stringify(ECHO)});`,
);

test('a program in which nothing else goes on sees it end', async () => {
  const path = new URL('../../../../backends/linux/line-process.ts', import.meta.url).pathname;
  const ending = program(
    'ending',
    `import { LineProcess } from ${JSON.stringify(path)};
for (const entry of ${JSON.stringify([ECHO, HELD])}) {
  const lines = new LineProcess({ entry, obituary: (why) => new Error(why) });
  await lines.ask('one');
  await lines.end();
}
console.log('all ended');`,
  );
  const { stdout, exitCode } = await execa(process.execPath, [ending], { reject: false });
  expect({ stdout, exitCode }).toEqual({ stdout: 'all ended', exitCode: 0 });
});
