import { Writable } from 'node:stream';
import { beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { ContractCase } from '../contract/contract.ts';
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

/** Making the JavaScript takes 10 s, and 100 where others have the processors. */
const BUILD_WITHIN_MS = 180_000;

/** Bodies to be run in one boot of a guest. */
export interface GuestBodies {
  /** By capability. */
  readonly contracts: Readonly<Record<string, readonly ContractCase[]>>;
  readonly nics: number;
  /** Of the kernel, loaded first. */
  readonly modules?: readonly string[];
  readonly timeLimitMs: number;
}

/** A test for each body. Vitest takes half a minute to start in the guest, so they are run by Node alone. */
export function testInGuest({ contracts, nics, modules = [], timeLimitMs }: GuestBodies): void {
  const lacking = missing();
  const names = Object.entries(contracts).flatMap(([capability, cases]) =>
    cases.map((contractCase) => `${capability}: ${contractCase.name}`),
  );
  const results = new Map<string, Result>();
  let stderr = '';

  beforeAll(async () => {
    if (lacking.length > 0) return;
    let stdout = '';
    const javascript = await javascriptOf(process.cwd());
    const load = modules.length === 0 ? [] : ['sh', '-c', `modprobe -a ${modules.join(' ')} && exec "$0" "$@"`];
    const bodies = Object.keys(contracts).map((capability) => `${capability}: `);
    await runInGuest([...load, 'node', `${javascript}/test/contract/run-linux.js`, ...bodies], {
      files: await setUp(() => {}),
      folder: process.cwd(),
      environment: environmentOf(process.env),
      memoryMib: 2048,
      nics,
      timeLimitMs,
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
  }, timeLimitMs + BUILD_WITHIN_MS);

  test.for(names)('%s', (name, { skip }) => {
    if (lacking.length > 0) skip(`it needs ${lacking.join(', ')}: npm run guest -- true makes it ready`);
    const result = results.get(name);
    expect(result, `the guest told nothing of it: ${stderr.slice(-2000)}`).toBeDefined();
    expect(result!.error).toBeUndefined();
    expect(result!.passed).toBe(true);
  });
}

const collect = (take: (text: string) => void): Writable => {
  const decoder = new TextDecoder();
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      take(decoder.decode(chunk, { stream: true }));
      done();
    },
  });
};
