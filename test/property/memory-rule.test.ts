import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memoryCase } from './memory-cases.ts';
import { oracle, type Verdict } from './memory-oracle.ts';
import { runMemory, settle } from './memory-run.ts';
import { Reach, runs } from './reach.ts';

describe('gaia', () => {
  test('kills as the rule says, over what the machine really holds', async () => {
    const reach = new Reach([
      'a kill',
      'a lowered line',
      'dry, then live',
      'several kills in one look',
      'a tie',
      'passed over',
      'over the hard limit, not past killAt',
      'past killAt with nobody to kill',
      'no kill',
      'the kernel killed',
    ]);
    await fc.assert(
      fc.asyncProperty(memoryCase, async (given) => {
        const verdict: Verdict = { violations: [], met: [] };
        const { observations, broken, simulation } = await runMemory(given, { around: oracle(verdict) });
        const kernel = observations.some(
          (observation) => observation.kind === 'death' && observation.cause === 'kernel',
        );
        reach.add([
          ...verdict.met,
          ...(verdict.met.includes('a kill') ? [] : ['no kill']),
          ...(kernel ? ['the kernel killed'] : []),
        ]);
        expect(verdict.violations).toEqual([]);
        expect(broken).toEqual([]);
        expect(await settle(simulation, given)).toEqual([]);
      }),
      runs(3000),
    );
    reach.demand();
  });
});
