import { createHash } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import type { PolicyReference } from '../host/supervision.ts';
import { formatMilliseconds } from '../host/units.ts';
import type { MemoryPolicy } from '../memory/policy.ts';
import { scenarioOf } from '../scenario/load.ts';
import { policiesOf, withPolicies } from '../scenario/policy.ts';
import { type RunResult, runScenario } from '../scenario/run.ts';
import type { RecordedRun } from '../traces/trace.ts';
import { openSim } from './backend/sim.ts';
import { readCommit } from './commit.ts';
import { loadPolicy } from './policy.ts';
import { progressOnStderr } from './progress.ts';
import { rulesFor } from './run.ts';

/**
 * Replays a simulated recording: its scenario runs again with the seed it had, under its own policies or another. Under
 * its own, with the same code, the recording and so the digest come out the same.
 */
export async function rerun(
  run: RecordedRun,
  file: string,
  policy: string | undefined,
): Promise<{ readonly why: string; readonly result: RunResult; readonly digest: string }> {
  const read = { ...scenarioOf(run.scenario, file, rulesFor('sim')), seed: run.seed };
  const loaded = new Map<string, MemoryPolicy>();
  const references = new Map<string, PolicyReference>();
  for (const own of policiesOf(read)) {
    // A policy's own file is named from the folder of the recording, as a scenario names it from its own.
    const written = own.file === undefined ? own.name : resolve(dirname(file), own.file);
    const found = await loadPolicy(policy ?? written);
    loaded.set(keyOf(found.reference), found.policy);
    references.set(keyOf(own), found.reference);
  }
  const scenario = withPolicies(read, (own) => references.get(keyOf(own))!);
  const opened = openSim(scenario, (reference) => loaded.get(keyOf(reference))!);
  const digest = createHash('sha256');
  const progress = progressOnStderr();
  try {
    const result = await runScenario(scenario, opened.backend, {
      engineFor: opened.engineFor,
      commit: await readCommit(),
      record: (line) => digest.update(line),
      observe: ({ atMs }) => progress.say(() => `${formatMilliseconds(atMs)} of ${formatMilliseconds(scenario.endMs)}`),
    });
    return { why: scenario.why, result, digest: digest.digest('hex') };
  } finally {
    progress.end();
    await opened.close();
  }
}

const keyOf = ({ name, file }: PolicyReference): string => file ?? name;
