// How often the simulated host and this machine's kernel disagree: generated memory scenarios, unseen by anybody, run
// on both. Prints each disagreement and the rate. As root: node test/e2e/agreement.ts [COUNT] [FIRST_SEED]
import type { OpenBackend } from '../../src/commands/backend/backend.ts';
import { openLinux } from '../../src/commands/backend/linux.ts';
import { openSim } from '../../src/commands/backend/sim.ts';
import { rulesFor } from '../../src/commands/run.ts';
import { policyByName } from '../../src/memory/policies.ts';
import { generateMemoryScenario } from '../../src/scenario/generate.ts';
import { type RunResult, runScenario } from '../../src/scenario/run.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';

const count = Number(process.argv[2] ?? 50);
const firstSeed = Number(process.argv[3] ?? 1000);

let disagreements = 0;
let withKills = 0;
for (let seed = firstSeed; seed < firstSeed + count; seed++) {
  const scenario = generateMemoryScenario(seed, rulesFor('linux'));
  const simulated = await runOn(
    scenario,
    openSim(scenario, ({ name }) => policyByName(name)!),
  );
  const real = await runOn(scenario, await openLinux(scenario, ({ name }) => policyByName(name)!));
  const [expected, seen] = [orderOf(simulated), orderOf(real)];
  if (expected !== 'nobody') withKills++;
  if (expected === seen) continue;
  disagreements++;
  process.stdout.write(`seed ${seed}: simulated ${expected}; real ${seen}\n`);
  for (const [name, { kills }] of [
    ['simulated', simulated],
    ['real', real],
  ] as const)
    for (const { atMs, container, reason } of kills)
      process.stdout.write(`  ${name} ${atMs.toFixed(0)} ms ${container}: ${reason}\n`);
  process.stdout.write(`  ${JSON.stringify(scenario.written)}\n`);
}
process.stdout.write(
  `${disagreements} of ${count} disagree (${((100 * disagreements) / count).toFixed(1)} %), seeds ${firstSeed} to ${firstSeed + count - 1}; ${withKills} with kills\n`,
);
process.exitCode = disagreements === 0 ? 0 : 1;

async function runOn(scenario: Scenario, open: OpenBackend): Promise<RunResult> {
  try {
    return await runScenario(scenario, open.backend, { engineFor: open.engineFor, commit: 'agreement' });
  } finally {
    await open.close();
  }
}

function orderOf({ kills }: RunResult): string {
  return kills.map(({ container, cause }) => `${container} (${cause})`).join(', ') || 'nobody';
}
