import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import type { CommandModule } from 'yargs';
import { checkFault } from '../../backends/sim/faults.ts';
import type { Observation } from '../engine/observation.ts';
import { formatMilliseconds } from '../host/units.ts';
import { resolveLine } from '../memory/line.ts';
import { policyNames } from '../memory/policies.ts';
import { ScenarioError } from '../scenario/errors.ts';
import { readScenario } from '../scenario/load.ts';
import { type RunResult, runScenario } from '../scenario/run.ts';
import { type BackendName, BACKENDS, type Rules, type Scenario } from '../scenario/scenario.ts';
import type { OpenBackend } from './backend/backend.ts';
import { openLinux } from './backend/linux.ts';
import { openSim } from './backend/sim.ts';
import { readCalibration } from './calibration.ts';
import { readCommit } from './commit.ts';
import { printPlan } from './dry-run.ts';
import { EXIT, UsageError } from './errors.ts';
import { documentOf, textOf } from './output.ts';
import { untilInterrupted } from './interruption.ts';
import { checkNetworks, networkNames } from './network-rules.ts';
import { progressOnStderr } from './progress.ts';
import { loadPoliciesOf } from './scenario-policies.ts';
import { mayTakeDownLinks } from './take-down-link.ts';

interface RunArguments {
  scenario: string;
  backend: BackendName;
  seed?: string | undefined;
  policy?: string | undefined;
  record?: string | undefined;
  'dry-run': boolean;
  calibration: string | undefined;
  'take-down-link': boolean;
  json: boolean;
}

/** `plimsoll run SCENARIO`: runs a scenario file on simulated or real machines and judges what it expected. */
export const runCommand: CommandModule<object, RunArguments> = {
  command: 'run <scenario>',
  describe: 'Run a scenario file on simulated machines, or on this one',
  builder: (yargs) =>
    yargs
      .positional('scenario', {
        type: 'string',
        demandOption: true,
        describe: 'A scenario file, scenarios/memory/seed-rule.yaml',
      })
      .option('backend', {
        choices: BACKENDS,
        default: 'sim' as const,
        requiresArg: true,
        describe: 'Simulated machines, or this one with real cgroups and processes (takes root)',
      })
      .option('seed', {
        type: 'string',
        requiresArg: true,
        describe: 'Whole number that chance is drawn from; else as the file says',
      })
      .option('policy', {
        type: 'string',
        requiresArg: true,
        describe: 'Name of a policy, or ./mine.ts, in place of those in the file',
      })
      .option('record', { type: 'string', requiresArg: true, describe: 'Write the recording of the run to this file' })
      .option('dry-run', {
        type: 'boolean',
        default: false,
        describe: 'Change nothing; print the commands that would set it up',
      })
      .option('calibration', {
        type: 'string',
        describe: 'On the simulated host: what packets cost, as "bench nic --calibrate" wrote it',
      })
      .option('take-down-link', {
        type: 'boolean',
        default: false,
        describe: 'VFs may be made on a card that the host itself uses: its link is gone for seconds',
      })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON document on stdout' })
      .example('$0 run scenarios/memory/seed-rule.yaml', 'the rule of the hard limit, step by step')
      .example('sudo $0 run scenarios/memory/leak.yaml --backend linux', 'the same on real cgroups'),
  handler: async (given) => {
    process.exitCode = await run(given);
  },
};

async function run(given: RunArguments): Promise<number> {
  const costs = given.calibration === undefined ? undefined : readCalibration(given.calibration);
  const { scenario, policies, policyOverride } = await prepare(given);
  if (given['dry-run']) {
    process.stdout.write(await printPlan(scenario, policies));
    return EXIT.held;
  }
  if (!scenario.backends.includes(given.backend))
    throw new UsageError(
      `${given.scenario} is not for ${given.backend}: run it with --backend ${scenario.backends.join(' or ')}`,
    );

  const recording = given.record === undefined ? undefined : openRecording(given.record);
  const progress = progressOnStderr();
  const digest = createHash('sha256');
  const interruption = untilInterrupted();
  let opened: OpenBackend | undefined;
  let result: RunResult;
  try {
    opened = given.backend === 'sim' ? openSim(scenario, policies, costs) : await openLinux(scenario, policies);
    result = await runScenario(scenario, opened.backend, {
      engineFor: opened.engineFor,
      commit: await readCommit(),
      policyOverride,
      record: (line) => {
        digest.update(line);
        recording?.write(line);
      },
      observe: ({ atMs }: Observation) =>
        progress.say(() => `${given.scenario}: ${formatMilliseconds(atMs)} of ${formatMilliseconds(scenario.endMs)}`),
      signal: interruption.signal,
    });
  } finally {
    progress.end();
    try {
      recording?.close();
    } finally {
      await opened?.close();
      interruption.close();
    }
  }
  const hash = digest.digest('hex');
  const again = reproduce(given, scenario);
  process.stdout.write(
    given.json ? `${JSON.stringify(documentOf(result, hash))}\n` : textOf(scenario.why, result, hash, again),
  );
  if (given.json && !result.held) process.stderr.write(`plimsoll: ${given.scenario}: not held; again: ${again}\n`);
  return result.held ? EXIT.held : EXIT.failed;
}

/** Reads the scenario, loads its policies, and puts in place what the command line says. */
async function prepare(given: RunArguments): ReturnType<typeof loadPoliciesOf> {
  const seed = given.seed === undefined ? undefined : seedOf(given.seed);
  const read = readScenario(readText(given.scenario), given.scenario, rulesFor(given.backend, given['dry-run']));
  const allowed = given['take-down-link'] ? mayTakeDownLinks(read) : read;
  return loadPoliciesOf(seed === undefined ? allowed : { ...allowed, seed }, given.policy);
}

/** What a scenario is checked by: the product's own parts, and on the real machine its RAM. */
export const rulesFor = (backend: BackendName, dryRun = false): Rules => ({
  policies: policyNames,
  resolveLine,
  checkFault,
  checkNetworks,
  networkNames,
  ...(backend === 'linux' && !dryRun && { machineRamBytes: totalmem() }),
});

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const what =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder: name a scenario file in it'
          : message;
    throw new ScenarioError(file, [{ message: what }], { cause });
  }
}

function seedOf(text: string): number {
  const seed = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(seed))
    throw new UsageError(`--seed ${text}: not a whole number, 0 or more; write --seed 7`);
  return seed;
}

interface OpenRecording {
  write(line: string): void;
  close(): void;
}

/** Lines are written in pieces of this size. */
const PIECE_CHARACTERS = 64 * 1024;

function openRecording(file: string): OpenRecording {
  const told = <T>(act: () => T): T => {
    try {
      return act();
    } catch (cause) {
      throw new UsageError(`--record ${file}: it cannot be written: ${(cause as Error).message}`, { cause });
    }
  };
  const descriptor = told(() => openSync(file, 'w'));
  let waiting = '';
  const flush = (): void => {
    const piece = waiting;
    waiting = '';
    told(() => writeFileSync(descriptor, piece));
  };
  return {
    write(line) {
      waiting += line;
      if (waiting.length > PIECE_CHARACTERS) flush();
    },
    close() {
      try {
        if (waiting !== '') flush();
      } finally {
        closeSync(descriptor);
      }
    },
  };
}

/** The line that runs the same again. */
function reproduce({ policy, backend, calibration, scenario: file }: RunArguments, { seed }: Scenario): string {
  const own = policy === undefined ? '' : ` --policy ${policy}`;
  const costs = calibration === undefined ? '' : ` --calibration ${calibration}`;
  return `plimsoll run ${file} --seed ${seed} --backend ${backend}${own}${costs}`;
}
