import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSimulation } from '../../backends/sim/simulation.ts';
import { openSqliteStore } from '../../backends/store/sqlite.ts';
import { bytes, GIB } from '../../src/host/units.ts';
import { STORE_CASES } from './store-cases.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'plimsoll-store-'));
  file = path.join(folder, 'store.db');
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the simulated store, through the chains of two hosts', () => {
  test.for(STORE_CASES)('%s: %s', async ([, , one]) => {
    const machine = { ramBytes: bytes(GIB), cpus: 1, cgroupVersion: 2 } as const;
    const simulation = createSimulation({
      seed: 1,
      hosts: ['one', 'two'].map((name) => ({ ...machine, name })),
      supervisor: () => {
        throw new Error('nothing is supervised');
      },
    });
    const [{ store, clock }, { store: another }] = [simulation.connect('one'), simulation.connect('two')];
    await simulation.run(() => one.run({ store, another, ttlMs: 1000, sleep: (delayMs) => clock.sleep(delayMs) }));
  });
});

describe('the store in a file', () => {
  test.for(STORE_CASES)('%s: %s', async ([, , one]) => {
    const [store, another] = [openSqliteStore(file), openSqliteStore(file)];
    try {
      await one.run({ store, another, ttlMs: 400, sleep });
    } finally {
      store.close();
      another.close();
    }
  });

  test('what was committed is there for the next process, revisions go on', async () => {
    const first = openSqliteStore(file);
    const { revision } = await first.commit({ put: [{ key: 'a', value: '1' }] });
    first.close();
    const second = openSqliteStore(file);
    expect(await second.read('')).toEqual([{ key: 'a', value: '1', revision }]);
    expect((await second.commit({ remove: ['a'] })).revision).toBeGreaterThan(revision);
    second.close();
  });

  test('two processes at once: no commit is lost, each number is taken once', async () => {
    const writers = [writer(200), writer(200)];
    const store = openSqliteStore(file);
    await store.commit({ put: [{ key: 'go', value: '' }] });
    store.close();
    const ended = await Promise.all(writers);
    const said = ended.flatMap(({ stdout }) => stdout.split('\n').map(Number)).sort((a, b) => a - b);
    expect(said).toEqual(Array.from({ length: 400 }, (_, index) => index + 1));
  });

  test('kill -9 in the middle of commits: each is there whole or not at all, and none that resolved is lost', async () => {
    let told = 0;
    const before = openSqliteStore(file);
    await before.commit({ put: [{ key: 'go', value: '' }] });
    before.close();
    for (let round = 1; round <= 4; round++) {
      const child = writer(1_000_000);
      let lines = 0;
      child.stdout.on('data', (chunk: Buffer) => {
        lines += chunk.toString().split('\n').length - 1;
        if (lines > 25 * round) child.kill('SIGKILL');
      });
      const end = await child;
      told = Math.max(told, ...end.stdout.split('\n').filter(Boolean).map(Number));
      expect(end.signal).toBe('SIGKILL');

      const store = openSqliteStore(file);
      const counter = Number((await store.read('counter'))[0]?.value);
      expect(counter).toBeGreaterThanOrEqual(told);
      // At most the one commit that was under way when it died.
      expect(counter).toBeLessThanOrEqual(told + 1);
      expect(await store.read('numbers/')).toHaveLength(counter);
      store.close();
    }
    expect(told).toBeGreaterThan(0);
  });
});

const writer = (count: number) =>
  execa(process.execPath, [path.join(import.meta.dirname, 'store-writer.ts'), file, String(count)], { reject: false });
