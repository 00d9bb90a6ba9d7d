import { createHash } from 'node:crypto';
import { formatMilliseconds } from '../host/units.ts';
import { scenarioOf } from '../scenario/load.ts';
import { type RunResult, runScenario } from '../scenario/run.ts';
import type { RecordedRun } from '../traces/trace.ts';
import { openSim } from './backend/sim.ts';
import { readCommit } from './commit.ts';
import { progressOnStderr } from './progress.ts';
import { rulesFor } from './run.ts';
import { loadPoliciesOf } from './scenario-policies.ts';

/**
 * Replays a simulated recording: its scenario runs again with the seed it had, under the policies it ran under or
 * another. Under the same, with the same code, the recording and so the digest come out the same.
 */
export async function rerun(
  run: RecordedRun,
  file: string,
  policy: string | undefined,
): Promise<{ readonly why: string; readonly result: RunResult; readonly digest: string }> {
  const read = { ...scenarioOf(run.scenario, file, rulesFor('sim')), seed: run.seed };
  const { scenario, policies, policyOverride } = await loadPoliciesOf(read, policy ?? run.policyOverride);
  const opened = openSim(scenario, policies);
  const digest = createHash('sha256');
  const progress = progressOnStderr();
  try {
    const result = await runScenario(scenario, opened.backend, {
      engineFor: opened.engineFor,
      commit: await readCommit(),
      policyOverride,
      record: (line) => digest.update(line),
      observe: ({ atMs }) => progress.say(() => `${formatMilliseconds(atMs)} of ${formatMilliseconds(scenario.endMs)}`),
    });
    return { why: scenario.why, result, digest: digest.digest('hex') };
  } finally {
    progress.end();
    await opened.close();
  }
}
