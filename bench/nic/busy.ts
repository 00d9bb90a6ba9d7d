import { join } from 'node:path';
import { namesIn, readWords } from './kernel-words.ts';

/** What all CPUs have done since the machine started, in ticks (proc_stat(5)). */
export interface CpuTicks {
  readonly busy: number;
  readonly idle: number;
  /** Taken by the hypervisor while there was work. */
  readonly stolen: number;
}

/** What each process has used since it started, in ticks. */
export type ProcessTicks = ReadonlyMap<number, { readonly name: string; readonly ticks: number }>;

/** What went on between two moments, in CPUs: 1 is one of them all the time. */
export interface Busy {
  /** Of everybody but the bench itself. */
  readonly othersCpus: number;
  readonly stolenCpus: number;
  /** Those that used the most of it, the first most. */
  readonly most: readonly { readonly pid: number; readonly name: string; readonly cpus: number }[];
}

/** Null where there is no /proc/stat. */
export function readCpuTicks(root = '/'): CpuTicks | null {
  const line = readWords(join(root, 'proc/stat'))?.split('\n', 1)[0];
  if (line === undefined || !line.startsWith('cpu ')) return null;
  const [user, nice, system, idle, ioWait, irq, softIrq, stolen] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map((ticks) => Number(ticks));
  const sum = (...ticks: readonly (number | undefined)[]): number => ticks.reduce<number>((a, b) => a + (b ?? 0), 0);
  return { busy: sum(user, nice, system, irq, softIrq), idle: sum(idle, ioWait), stolen: sum(stolen) };
}

/** proc_pid_stat(5); one that ends meanwhile is left out. */
export function readProcessTicks(root = '/'): ProcessTicks {
  const found = new Map<number, { name: string; ticks: number }>();
  for (const pid of namesIn(join(root, 'proc'))) {
    if (!/^\d+$/.test(pid)) continue;
    // A name may hold anything, parentheses too.
    const { name, rest } =
      readWords(join(root, 'proc', pid, 'stat'))?.match(/\((?<name>.*)\) (?<rest>.*)$/s)?.groups ?? {};
    if (name === undefined || rest === undefined) continue;
    // utime and stime are the 14th and 15th of all words; `rest` begins with the third.
    const words = rest.split(' ');
    found.set(Number(pid), { name, ticks: Number(words[11]) + Number(words[12]) });
  }
  return found;
}

/** Processes named of those that are busy. */
const NAMED = 3;
/** Less of a CPU is nobody's fault. */
const WORTH_NAMING = 0.02;

/** What went on between two looks. Null where nothing is known, or no time went by. */
export function busyBetween(
  before: { readonly all: CpuTicks | null; readonly processes: ProcessTicks },
  after: { readonly all: CpuTicks | null; readonly processes: ProcessTicks },
  { cpus, self }: { readonly cpus: number; readonly self: number },
): Busy | null {
  if (before.all === null || after.all === null) return null;
  const [busy, idle, stolen] = (['busy', 'idle', 'stolen'] as const).map((key) => after.all![key] - before.all![key]);
  // Of one CPU: ticks are counted for all of them together.
  const passed = (busy! + idle! + stolen!) / cpus;
  if (passed <= 0) return null;
  const used = [...after.processes].map(([pid, { name, ticks }]) => {
    const since = before.processes.get(pid)?.ticks ?? 0;
    return { pid, name, cpus: (ticks - since) / passed };
  });
  const own = used.find(({ pid }) => pid === self)?.cpus ?? 0;
  return {
    othersCpus: Math.max(0, busy! / passed - own),
    stolenCpus: stolen! / passed,
    most: used
      .filter(({ pid, cpus }) => pid !== self && cpus >= WORTH_NAMING)
      .toSorted((a, b) => b.cpus - a.cpus)
      .slice(0, NAMED),
  };
}
