import { setTimeout } from 'node:timers/promises';
import { quantile } from '../../src/report/quantile.ts';
import { median } from '../result.ts';
import { type Busy, busyBetween, readCpuTicks, readProcessTicks } from './busy.ts';
import type { NicEnvironment, Processor } from './environment.ts';

/** Something about the machine that bears on what its figures are worth. */
export interface Finding {
  readonly about: 'others' | 'steal' | 'load' | 'governor' | 'turbo' | 'hypervisor' | 'rounds';
  /** Does it make figures unbelievable? Otherwise it is to be known. */
  readonly isNoise: boolean;
  readonly message: string;
  /** Empty where there is nothing to do. */
  readonly remedy: string;
}

/** Is the machine quiet enough to believe what was measured on it? */
export interface Noise {
  readonly verdict: 'quiet' | 'noisy';
  readonly findings: readonly Finding[];
}

/** The rounds of one figure, of something that would be the same each time: CPU a packet. */
export interface Series {
  readonly name: string;
  readonly rounds: readonly number[];
}

/** Two runs of a bench on a quiet machine agree to this in CPU a packet. */
const AGREEMENT = 0.05;
/** Of all CPUs: what others use comes and goes, and takes caches and turns with it. */
const OTHERS = 0.05;
const STOLEN = 0.01;
/** Of all CPUs, over the last minute. */
const LOADED = 0.5;
/** Long enough for 200 ticks on two CPUs, so that a hundredth is seen. */
const LOOK_MS = 1000;

/** Looks at the machine for a second during which the bench itself does nothing. */
export async function lookForNoise(
  environment: Pick<NicEnvironment, keyof Processor | 'load' | 'hypervisor'>,
): Promise<Finding[]> {
  const look = () => ({ all: readCpuTicks(), processes: readProcessTicks() });
  const before = look();
  await setTimeout(LOOK_MS);
  const busy = busyBetween(before, look(), { cpus: environment.cpus, self: process.pid });
  return findingsBefore(environment, busy);
}

/** What can be said before anything is measured. */
export function findingsBefore(
  { cpus, governors, turbo, load, hypervisor }: Pick<NicEnvironment, keyof Processor | 'load' | 'hypervisor'>,
  busy: Busy | null,
): Finding[] {
  return [
    ...(busy === null ? [] : busyFindings(busy, cpus)),
    ...(load !== null && load[0]! > LOADED * cpus
      ? [notice('load', `${load[0]} processes wanted ${cpusOf(cpus)} in the last minute`, 'wait until they are done')]
      : []),
    ...(governors?.some((governor) => governor !== 'performance') === true
      ? [
          noise(
            'governor',
            `the CPUs change their speed with their load (governor ${governors.join(', ')})`,
            'echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor',
          ),
        ]
      : []),
    ...(turbo === true
      ? [
          notice(
            'turbo',
            'the CPUs run above their rated speed as long as they are cool',
            'switch it off: echo 0 > /sys/devices/system/cpu/cpufreq/boost, or echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo',
          ),
        ]
      : []),
    ...(hypervisor === null
      ? []
      : [notice('hypervisor', 'a virtual machine: its neighbours are not seen from here', '')]),
  ];
}

function busyFindings({ othersCpus, stolenCpus, most }: Busy, cpus: number): Finding[] {
  const names = most.map(({ name, pid, cpus: used }) => `${name} (pid ${pid}) ${percent(used)} of a CPU`);
  return [
    ...(othersCpus > OTHERS * cpus
      ? [
          noise(
            'others',
            `others use ${percent(othersCpus)} of a CPU while the bench is idle${names.length === 0 ? '' : `: ${names.join(', ')}`}`,
            'end them, or wait until they are done',
          ),
        ]
      : []),
    ...(stolenCpus > STOLEN * cpus ? [stealFinding(stolenCpus)] : []),
  ];
}

const stealFinding = (stolenCpus: number): Finding =>
  noise(
    'steal',
    `the hypervisor takes ${percent(stolenCpus)} of a CPU for other machines (steal)`,
    'give this machine CPUs of its own',
  );

/** Watches from now on what the hypervisor takes; what it gives tells at the end, with the rounds that came of it. */
export function watchForNoise(cpus: number): (series: readonly Series[]) => Finding[] {
  const look = () => ({ all: readCpuTicks(), processes: new Map() });
  const before = look();
  return (series) => findingsAfter(series, busyBetween(before, look(), { cpus, self: process.pid }), cpus);
}

/** What the rounds tell, and what the hypervisor took while they ran. */
export function findingsAfter(
  series: readonly Series[],
  busy: Pick<Busy, 'stolenCpus'> | null,
  cpus: number,
): Finding[] {
  const wide = series
    .map(({ name, rounds }) => ({ name, rounds, within: agreesWithin(rounds) }))
    .filter(({ within }) => within === null || within > AGREEMENT)
    .toSorted((a, b) => (b.within ?? Infinity) - (a.within ?? Infinity));
  const [worst] = wide;
  return [
    ...(busy !== null && busy.stolenCpus > STOLEN * cpus ? [stealFinding(busy.stolenCpus)] : []),
    ...(worst === undefined ? [] : [roundsFinding(worst, wide.length, series.length)]),
  ];
}

function roundsFinding(
  { name, rounds, within }: Series & { readonly within: number | null },
  count: number,
  of: number,
): Finding {
  if (within === null)
    return notice(
      'rounds',
      `${rounds.length} of ${name} tell no spread`,
      `take more: --runs ${ENOUGH_TO_TELL} or more`,
    );
  const enough = Math.ceil(rounds.length * (within / AGREEMENT) ** 2);
  const message = `${count} of ${of} figures are not known to ${percent(AGREEMENT)}: another run may differ by ${percent(within)} in ${name}`;
  const remedy =
    enough > MOST_ADVISED
      ? 'leave the machine to the bench alone'
      : `leave the machine to the bench alone, or take more rounds (--runs ${enough})`;
  return noise('rounds', message, remedy);
}

/** Fewer rounds have no middle half. */
const ENOUGH_TO_TELL = 4;
/** More rounds do not make up for a machine like that. */
const MOST_ADVISED = 100;

/**
 * How near the median of as many rounds of another run on the same machine comes, as a share: in 19 of 20 runs, of ten rounds
 * in 9 of 10. The median of n rounds has a deviation of 1.25 s / sqrt(n), s is the middle half over 1.35 (McGill, Tukey and
 * Larsen, "Variations of Box Plots", 1978), and two runs differ by 1.96 times sqrt(2) of it. Null for too few rounds.
 */
export function agreesWithin(rounds: readonly number[]): number | null {
  if (rounds.length < ENOUGH_TO_TELL) return null;
  const deviation = (1.25 * (quantile(rounds, 0.75) - quantile(rounds, 0.25))) / 1.35 / Math.sqrt(rounds.length);
  return (1.96 * Math.SQRT2 * deviation) / Math.abs(median(rounds));
}

export const noiseOf = (findings: readonly Finding[]): Noise => ({
  verdict: findings.some(({ isNoise }) => isNoise) ? 'noisy' : 'quiet',
  findings,
});

/** For people: the verdict first, then why. */
export function noiseLines({ verdict, findings }: Noise): string[] {
  return [
    verdict === 'quiet'
      ? 'the machine is quiet enough to believe it'
      : 'the machine is too noisy to believe it: compare CPU per packet and ratios, if anything',
    ...findings.map(
      ({ isNoise, message, remedy }) => `${isNoise ? '!' : ' '} ${message}${remedy === '' ? '' : `; ${remedy}`}`,
    ),
  ];
}

const noise = (about: Finding['about'], message: string, remedy: string): Finding => ({
  about,
  isNoise: true,
  message,
  remedy,
});
const notice = (about: Finding['about'], message: string, remedy: string): Finding => ({
  about,
  isNoise: false,
  message,
  remedy,
});

const percent = (share: number): string => `${Number((share * 100).toPrecision(2))} %`;
const cpusOf = (cpus: number): string => (cpus === 1 ? 'the one CPU' : `the ${cpus} CPUs`);
