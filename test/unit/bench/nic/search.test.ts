import { describe, expect, test } from 'vitest';
import { NO_LOSS, PARTIAL_LOSS, type RunTrial, searchRates } from '../../../../bench/nic/search.ts';

const options = {
  maxPacketsPerSec: 1_000_000,
  shortMs: 100,
  fullMs: 1000,
  precision: 0.01,
  losses: [NO_LOSS, PARTIAL_LOSS],
};

/** Passes so much, and loses the rest. */
const upTo =
  (capacityPerSec: number): RunTrial =>
  async (packetsPerSec, forMs) => {
    const sent = Math.floor((packetsPerSec * forMs) / 1000);
    return { sent, received: Math.min(sent, Math.floor((capacityPerSec * forMs) / 1000)) };
  };

describe('the rate without loss and with little', () => {
  test('is within a hundredth below what passes, and says what was too high', async () => {
    const { rates, trials } = await searchRates(upTo(412_345), options);
    const [none, little] = rates;
    expect(none!.packetsPerSec).toBeGreaterThan(412_345 * 0.99);
    expect(none!.packetsPerSec).toBeLessThanOrEqual(412_345);
    expect(none!.tooHighPacketsPerSec).toBeGreaterThan(412_345);
    expect(little!.packetsPerSec).toBeGreaterThan((412_345 / 0.995) * 0.99);
    expect(little!.receivedPerSec).toBeGreaterThanOrEqual(little!.packetsPerSec * 0.995);
    expect(rates.map(({ loss, limit }) => ({ loss, limit }))).toEqual([
      { loss: 0, limit: 'path' },
      { loss: 0.005, limit: 'path' },
    ]);
    expect(trials.filter(({ forMs }) => forMs === 1000).length).toBeLessThan(16);
  });

  test('is the maximum where that passes, and no more is tried', async () => {
    const { rates, trials } = await searchRates(upTo(2_000_000), options);
    expect(rates[0]).toEqual({
      loss: 0,
      packetsPerSec: 1_000_000,
      receivedPerSec: 1_000_000,
      tooHighPacketsPerSec: null,
      limit: 'maximum',
    });
    expect(trials.map(({ packetsPerSec, forMs }) => `${packetsPerSec} for ${forMs}`)).toEqual([
      '1000000 for 100',
      '1000000 for 1000',
      '1000000 for 1000',
    ]);
  });

  test('is none where something is lost of the least', async () => {
    const { rates, trials } = await searchRates(async (sent) => ({ sent, received: 0 }), options);
    expect(Math.min(...trials.map(({ packetsPerSec }) => packetsPerSec))).toBe(1000);
    expect(rates.map(({ packetsPerSec, limit }) => ({ packetsPerSec, limit }))).toEqual([
      { packetsPerSec: 0, limit: 'path' },
      { packetsPerSec: 0, limit: 'path' },
    ]);
  });

  test('is what the generator can where that is less than the path', async () => {
    const slow: RunTrial = (packetsPerSec, forMs) => upTo(900_000)(Math.min(packetsPerSec, 300_000), forMs);
    const { rates } = await searchRates(slow, options);
    for (const { packetsPerSec, limit } of rates) {
      expect(limit).toBe('generator');
      expect(packetsPerSec).toBeLessThanOrEqual(300_000);
      expect(packetsPerSec).toBeGreaterThan(297_000);
    }
  });

  test('is what full trials find where a queue holds what short ones send too much', async () => {
    // 20,000 packets wait before any is lost.
    const queued: RunTrial = async (packetsPerSec, forMs) => {
      const sent = Math.floor((packetsPerSec * forMs) / 1000);
      return { sent, received: Math.min(sent, Math.floor((500_000 * forMs) / 1000) + 20_000) };
    };
    const { rates } = await searchRates(queued, options);
    expect(rates[0]!.packetsPerSec).toBeGreaterThan(520_000 * 0.99);
    expect(rates[0]!.packetsPerSec).toBeLessThanOrEqual(520_000);
  });

  test('is soon found where short trials were far too low, of a path that takes its time to begin', async () => {
    const slow: RunTrial = (packetsPerSec, forMs) => upTo(forMs < 1000 ? 50_000 : 500_000)(packetsPerSec, forMs);
    const { rates, trials } = await searchRates(slow, options);
    expect(rates[0]!.packetsPerSec).toBeGreaterThan(500_000 * 0.99);
    expect(trials.length).toBeLessThan(100);
  });

  test('is far below the rate with little loss where a trickle is lost from half the load on', async () => {
    const leaky: RunTrial = async (packetsPerSec, forMs) => {
      const { sent, received } = await upTo(800_000)(packetsPerSec, forMs);
      return { sent, received: packetsPerSec > 400_000 ? received - 3 : received };
    };
    const { rates } = await searchRates(leaky, options);
    expect(rates[0]!.packetsPerSec).toBeGreaterThan(400_000 * 0.99);
    expect(rates[0]!.packetsPerSec).toBeLessThanOrEqual(400_000);
    expect(rates[1]!.packetsPerSec).toBeGreaterThan(800_000 * 0.99);
  });

  test('a trial that fails ends the search', async () => {
    await expect(searchRates(() => Promise.reject(new Error('link down')), options)).rejects.toThrow('link down');
  });

  test('any one trial that something disturbs decides nothing', async () => {
    const undisturbed = await searchRates(upTo(412_345), options);
    for (let struck = 0; struck < undisturbed.trials.length; struck++) {
      let made = 0;
      const once: RunTrial = async (packetsPerSec, forMs) => {
        const { sent, received } = await upTo(412_345)(packetsPerSec, forMs);
        return { sent, received: made++ === struck ? Math.floor(received * 0.7) : received };
      };
      const { rates } = await searchRates(once, options);
      expect(rates[0]!.packetsPerSec, `trial ${struck} is disturbed`).toBeGreaterThan(412_345 * 0.99);
      expect(rates[0]!.packetsPerSec).toBeLessThanOrEqual(412_345);
    }
  });
});
