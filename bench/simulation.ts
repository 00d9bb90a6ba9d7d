import { createHash } from 'node:crypto';
import { openSim } from '../src/commands/backend/sim.ts';
import { policyByName, policyNames } from '../src/memory/policies.ts';
import { resolveLine } from '../src/memory/line.ts';
import { readScenario } from '../src/scenario/load.ts';
import { checkNetworks, networkNames } from '../src/commands/network-rules.ts';
import { runScenario } from '../src/scenario/run.ts';

/** Long enough that starting costs nothing beside it. */
const SIMULATED_SECONDS = 3600;

const CONTAINERS = 50;

/**
 * A machine of 50 containers looked at 10 times a second, far from its limit but for one leak that is killed: every verb,
 * look, sample, invariant and line of the recording, digest included.
 */
const scenarioText = (): string => {
  const lines = Array.from({ length: CONTAINERS }, (_, index) => {
    const workload = [
      '{ constant: 200Mi }',
      '{ ramp: { from: 50Mi, to: 250Mi, start: 10m, over: 30m } }',
      '{ sawtooth: { low: 60Mi, high: 220Mi, period: 90s } }',
      '{ burst: { base: 80Mi, peak: 300Mi, at: 60s, rise: 5s, hold: 20s, every: 5m } }',
      '{ constant: 100Mi, cache: { size: 500Mi, perSecond: 1Mi }}',
    ][index % 5]!;
    return `  c${index}: { request: 256Mi, workload: ${workload} }`;
  });
  return `title: fifty containers for an hour
why: what a simulated second costs
seed: 1
hosts: { host: { ram: 32Gi, cpus: 8 } }
memory: { policy: gaia, hardLimit: 16Gi, lookEvery: 100ms }
containers:
${lines.join('\n')}
  leak: { request: 256Mi, workload: { leak: { from: 10Mi, perSecond: 4Mi } } }
timeline:
  - { at: ${SIMULATED_SECONDS}s, do: end }
expectations:
  - { text: the leak alone is killed, that: { killed: [leak] } }
`;
};

/** Simulated seconds a second of CPU, of one run. */
export async function simulatedSpeedup(): Promise<number> {
  const scenario = readScenario(scenarioText(), 'bench', {
    policies: policyNames,
    resolveLine,
    checkFault: () => undefined,
    checkNetworks,
    networkNames,
  });
  const opened = openSim(scenario, ({ name }) => policyByName(name)!);
  const digest = createHash('sha256');
  const before = process.cpuUsage();
  const { held, verdicts } = await runScenario(scenario, opened.backend, {
    engineFor: opened.engineFor,
    commit: 'bench',
    record: (line) => digest.update(line),
  });
  digest.digest('hex');
  const { user, system } = process.cpuUsage(before);
  await opened.close();
  if (!held)
    throw new Error(`the bench's own scenario does not hold: ${verdicts.map(({ detail }) => detail).join('; ')}`);
  return (SIMULATED_SECONDS * 1e6) / (user + system);
}
