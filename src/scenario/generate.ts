import { createRandom, type Random } from '../host/random.ts';
import { MIB } from '../host/units.ts';
import { memoryPieces, type Piece, pieceAt, type PiecewiseLinear } from '../host/workload.ts';
import type { Rules, Scenario } from './scenario.ts';
import { scenarioOf } from './load.ts';

/** Two victims closer than this might be told apart differently by two hosts; v1 charges in steps of 256 KiB. */
const APART_BYTES = 6 * MIB;

/** Two kills closer in time than this might come in one look on one host and in two on the other. */
const APART_MS = 400;

/** The last kill is seen out: a death is noticed within a second. */
const QUIET_END_MS = 300;

const ATTEMPTS_MAX = 10_000;

/**
 * A small scenario for comparing backends, drawn from the seed: 2 to 6 containers, some 50 to 200 MiB, 2 to 4 s, and
 * kills that are well apart in time and size, so that two true hosts must agree on them. Most have at least one.
 */
export function generateMemoryScenario(seed: number, rules: Rules): Scenario {
  const random = createRandom(seed).fork('memory scenario');
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const written = draw(random, seed);
    const scenario = scenarioOf(written, `generated-${seed}.yaml`, rules);
    if (isClear(scenario)) return scenario;
  }
  throw new Error(`seed ${seed} gives no scenario whose kills are clear in ${ATTEMPTS_MAX} attempts`);
}

/** As it would be written in a file. */
function draw(random: Random, seed: number): unknown {
  const lastsMs = random.integer(20, 40) * 100;
  const hardLimit = random.integer(60, 160);
  const count = random.integer(2, 6);
  const containers: Record<string, unknown> = {};
  for (let index = 0; index < count; index++) {
    // Shares that come to about the limit, so that runs without a kill are as few as runs with many.
    const size = Math.max(6, Math.round((hardLimit / count) * (0.5 + random.next())));
    containers[`c${index}`] = {
      request: `${Math.max(2, Math.round(size * (0.3 + random.next())))}Mi`,
      workload: drawWorkload(random, size, lastsMs),
    };
  }
  return {
    title: `Generated from seed ${seed}`,
    why: 'Both backends must kill the same containers in the same order.',
    seed,
    // The ceiling is out of the way: who is killed by the kernel depends on who faults first.
    memory: { policy: 'gaia', hardLimit: `${hardLimit}Mi`, ceiling: 1.5, lookEvery: '20ms' },
    containers,
    timeline: [{ at: `${lastsMs}ms`, do: 'end' }],
  };
}

function drawWorkload(random: Random, size: number, lastsMs: number): unknown {
  const start = `${random.integer(2, Math.floor(lastsMs / 200)) * 100}ms`;
  const over = `${random.integer(5, 15) * 100}ms`;
  switch (random.integer(0, 4)) {
    case 0:
      return { constant: `${size}Mi` };
    case 1:
      return { ramp: { from: `${Math.round(size / 3)}Mi`, to: `${size * 2}Mi`, start, over } };
    case 2:
      return {
        leak: { from: `${Math.round(size / 2)}Mi`, perSecond: `${random.integer(5, 40)}Mi`, upTo: `${size * 3}Mi` },
      };
    case 3:
      return {
        burst: { base: `${Math.round(size / 2)}Mi`, peak: `${size * 2}Mi`, at: start, rise: over, hold: '500ms' },
      };
    default:
      return {
        constant: `${size}Mi`,
        cache: { size: `${random.integer(5, 20)}Mi`, perSecond: `${random.integer(5, 20)}Mi` },
      };
  }
}

const STEP_MS = 10;

/** Walks the rule through the curves alone, without any host, and says whether every choice in it is a clear one. */
function isClear({ containers, hosts, endMs }: Scenario): boolean {
  const { killAtBytes, stopAtBytes } = hosts[0]!.memory.line;
  const curves = new Map(containers.map(({ name, workload }) => [name, memoryPieces(workload.memory)]));
  const requests = new Map(containers.map(({ name, requestBytes }) => [name, requestBytes]));
  let lastKillMs = Number.NEGATIVE_INFINITY;
  let nearest = Number.NEGATIVE_INFINITY;
  for (let atMs = 0; atMs <= endMs; atMs += STEP_MS) {
    const use = new Map([...curves].map(([name, curve]) => [name, valueAt(curve, atMs)]));
    const total = sum(use.values());
    if (total <= killAtBytes) {
      nearest = Math.max(nearest, total);
      continue;
    }
    // The first look of a real run comes when the containers are still being started.
    if (atMs < APART_MS || atMs - lastKillMs < APART_MS || atMs > endMs - QUIET_END_MS) return false;
    const [victim, next] = [...use]
      .map(([name, bytes]) => ({ name, over: bytes - requests.get(name)!, bytes }))
      .toSorted((a, b) => b.over - a.over);
    if (victim === undefined || victim.over < APART_BYTES) return false;
    if (next !== undefined && victim.over - next.over < APART_BYTES) return false;
    if (total - victim.bytes > stopAtBytes - APART_BYTES) return false;
    curves.delete(victim.name);
    lastKillMs = atMs;
    nearest = Number.NEGATIVE_INFINITY;
  }
  // A total that comes near the line and turns round may pass it on one host and not on the other.
  return nearest < killAtBytes - APART_BYTES;
}

const piece: Piece = { value: 0, slope: 0, untilMs: 0 };
const valueAt = (curve: PiecewiseLinear, ageMs: number): number => pieceAt(curve, ageMs, piece).value;
const sum = (values: Iterable<number>): number => Iterator.from(values).reduce((total, value) => total + value, 0);
