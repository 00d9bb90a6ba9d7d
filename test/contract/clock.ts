import assert from 'node:assert/strict';
import type { ContractCase } from './contract.ts';

/** What `Clock` promises. */
export const clockContract: readonly ContractCase[] = [
  {
    name: 'monotonic time never goes back, and a sleep lasts at least as long as asked',
    async run({ host: { clock }, settle }) {
      let last = clock.monotonicMs();
      for (let round = 0; round < 1000; round++) {
        const now = clock.monotonicMs();
        assert.ok(now >= last);
        last = now;
      }
      const before = clock.monotonicMs();
      await settle(() => clock.sleep(30));
      assert.ok(clock.monotonicMs() - before >= 30);
    },
  },
  {
    name: 'sleeps end in the order of their ends',
    async run({ host: { clock }, settle }) {
      const ended: number[] = [];
      const sleep = async (delayMs: number): Promise<void> => {
        await clock.sleep(delayMs);
        ended.push(delayMs);
      };
      await settle(() => Promise.all([sleep(90), sleep(10), sleep(50)]));
      assert.deepEqual(ended, [10, 50, 90]);
    },
  },
  {
    name: 'an aborted sleep ends at once, before or during it, and does not reject',
    async run({ host: { clock }, settle }) {
      const hour = 3_600_000;
      const before = clock.monotonicMs();
      await settle(() => clock.sleep(hour, AbortSignal.abort()));
      const stop = new AbortController();
      await settle(async () => {
        const long = clock.sleep(hour, stop.signal);
        await clock.sleep(10);
        stop.abort();
        await long;
      });
      assert.ok(clock.monotonicMs() - before < hour);
    },
  },
  {
    name: 'wall time counts from 1970 and goes on with monotonic time',
    async run({ host: { clock }, settle }) {
      const wallBefore = clock.wallMs();
      assert.ok(wallBefore >= 0);
      await settle(() => clock.sleep(50));
      // The wall clock may be set meanwhile, but hardly by a minute.
      assert.ok(Math.abs(clock.wallMs() - wallBefore - 50) < 60_000);
    },
  },
];
