import { Writable } from 'node:stream';
import { beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { LINUX_CONTRACTS } from '../contract/linux.ts';
import { runInGuest } from './boot.ts';
import { environmentOf } from './environment.ts';
import { javascriptOf } from './javascript.ts';
import { missing, setUp } from './set-up.ts';

/** One line of test/contract/run-linux.ts. */
const resultSchema = z.object({
  name: z.string(),
  passed: z.boolean(),
  tookMs: z.number(),
  error: z.string().optional(),
});
type Result = z.infer<typeof resultSchema>;

const lacking = missing();
/** What version 2 has to do with, and what another kernel could do otherwise; the tools of the firewall are the same here and there. */
const CAPABILITIES = [
  'cgroups',
  'containers',
  'supervision',
  'machine',
  'clock',
  'crashes',
  'namespaces',
  'routing',
  'probes',
  'firewall on packets',
];
const names = CAPABILITIES.flatMap((capability) =>
  LINUX_CONTRACTS[capability]!.map((contractCase) => `${capability}: ${contractCase.name}`),
);

/** Vitest takes half a minute to start in the guest, so the bodies are run by Node alone, all in one boot. */
const TIME_LIMIT_MS = 900_000;

describe('on cgroup v2, in a guest', () => {
  const results = new Map<string, Result>();
  let stderr = '';

  beforeAll(async () => {
    if (lacking.length > 0) return;
    let stdout = '';
    const javascript = await javascriptOf(process.cwd());
    const bodies = CAPABILITIES.map((capability) => `${capability}: `);
    await runInGuest(['node', `${javascript}/test/contract/run-linux.js`, ...bodies], {
      files: await setUp(() => {}),
      folder: process.cwd(),
      environment: environmentOf(process.env),
      memoryMib: 2048,
      nics: 0,
      timeLimitMs: TIME_LIMIT_MS,
      stdout: collect((text) => (stdout += text)),
      stderr: collect((text) => (stderr += text)),
    }).catch((cause: unknown) => {
      throw new Error(
        `after ${/"name":"(?<name>[^"]*)"[^\n]*\n[^\n]*$/.exec(stdout)?.groups?.name ?? 'none'} of the bodies`,
        { cause },
      );
    });
    for (const line of stdout.split('\n').filter((text) => text.startsWith('{'))) {
      const result = resultSchema.parse(JSON.parse(line));
      results.set(result.name, result);
    }
  }, TIME_LIMIT_MS + 60_000);

  test.for(names)('%s', (name, { skip }) => {
    if (lacking.length > 0) skip(`it needs ${lacking.join(', ')}: npm run guest -- true makes it ready`);
    const result = results.get(name);
    expect(result, `the guest told nothing of it: ${stderr.slice(-2000)}`).toBeDefined();
    expect(result!.error).toBeUndefined();
    expect(result!.passed).toBe(true);
  });
});

const collect = (take: (text: string) => void): Writable => {
  const decoder = new TextDecoder();
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      take(decoder.decode(chunk, { stream: true }));
      done();
    },
  });
};
