import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import type { LinuxHost } from '../backends/linux/host.ts';
import { monotonicMs } from '../backends/linux/clock.ts';
import { linuxCgroups } from '../backends/linux/cgroups.ts';
import { quote } from '../backends/linux/quote.ts';
import { foldersOf } from '../backends/linux/runs.ts';
import type { Applied } from '../src/host/batch.ts';
import type { MemoryStat } from '../src/host/cgroups.ts';
import type { Supervisor, SupervisorSettings } from '../src/host/supervision.ts';
import { bytes, GIB, MIB, milliseconds } from '../src/host/units.ts';
import { gaia } from '../src/memory/policies/gaia.ts';
import type { MemoryPolicy } from '../src/memory/policy.ts';
import { supervisorFactory } from '../src/memory/supervisor.ts';
import { type BenchResult, result } from './result.ts';

export interface MemoryBenchOptions {
  /** The figures are medians over this many rounds. */
  readonly runs: number;
  /** Opens the host to measure on, its root named `root`; the bench closes it. */
  readonly open: (root: string) => Promise<LinuxHost>;
  readonly root: string;
  readonly onProgress?: (what: string) => void;
}

export interface MemoryBench {
  readonly bench: 'memory';
  readonly environment: { readonly cgroupVersion: 1 | 2; readonly cgroups: number; readonly node: string };
  readonly results: readonly BenchResult[];
}

const CGROUPS = 1000;
const LOOKS = 400;
/** Each cgroup really holds this much: shared memory, which stays when its writer goes on. */
const CHARGED_BYTES = MIB;
const FAR_BYTES = 512 * GIB;
/** Between looks that are only counted: thousands of them lie within one second. */
const QUICK_MS = 0.01;

/** A second of looks at each 100 ms is 10; the share is of a core, over this long. */
const SHARE_OVER_MS = 5000;
const KILLS = 20;
/** Of these at least so many must have been seen crossing, or the round tells nothing. */
const CROSSINGS_MIN = 15;
/** A rise is over long before. */
const WATCH_MS = 1500;
const NAMES = Array.from({ length: CGROUPS }, (_, index) => `c${String(index).padStart(4, '0')}`);
/** Each dies once, in a cgroup of its own. */
const VICTIMS = Array.from({ length: KILLS }, (_, index) => `victim-${index}`);
const VICTIM_REQUEST_BYTES = 8 * MIB;
const RISE_BYTES = 96 * MIB;

/** What the supervisor costs, and how fast it is, with a thousand real cgroups. */
export async function memoryBench({
  runs,
  open,
  root,
  onProgress = () => {},
}: MemoryBenchOptions): Promise<MemoryBench> {
  const host = await open(root);
  try {
    await charge(host, root);
    const rounds: Round[] = [];
    for (let run = 1; run <= runs; run++) {
      onProgress(`memory: round ${run} of ${runs}`);
      rounds.push(await measure(host, root));
    }
    const column = (pick: (round: Round) => number): number[] => rounds.map(pick);
    return {
      bench: 'memory',
      environment: { cgroupVersion: host.cgroupVersion, cgroups: CGROUPS, node: process.version },
      results: [
        result(
          'memory.look_far_us',
          'us',
          column(({ farUs }) => farUs),
        ),
        result(
          'memory.look_near_us',
          'us',
          column(({ nearUs }) => nearUs),
        ),
        result(
          'memory.child_over_us',
          'us',
          column(({ childOverUs }) => childOverUs),
        ),
        result(
          'memory.reaction_p50_ms',
          'ms',
          column(({ reactionP50Ms }) => reactionP50Ms),
        ),
        result(
          'memory.reaction_p99_ms',
          'ms',
          column(({ reactionP99Ms }) => reactionP99Ms),
        ),
        result(
          'memory.cpu_share',
          'of a core',
          column(({ cpuShare }) => cpuShare),
        ),
      ],
    };
  } finally {
    await host.close();
  }
}

interface Round {
  readonly farUs: number;
  readonly nearUs: number;
  readonly childOverUs: number;
  readonly reactionP50Ms: number;
  readonly reactionP99Ms: number;
  readonly cpuShare: number;
}

async function measure(host: LinuxHost, root: string): Promise<Round> {
  const farUs = lookUs(root, settings(FAR_BYTES, GIB, QUICK_MS));
  const nearUs = lookUs(root, settings(MIB, GIB, QUICK_MS));
  // All over their request, and a policy that names nobody: every look reads every memory.stat.
  const overUs = lookUs(root, settings(MIB, 4096, QUICK_MS), { ...gaia, decide: () => [] });
  const cpuShare = await share(host);
  const reactionsMs = await reactions(host, nearUs / 1000);
  return {
    farUs,
    nearUs,
    childOverUs: (overUs - nearUs) / CGROUPS,
    reactionP50Ms: quantile(reactionsMs, 0.5),
    reactionP99Ms: quantile(reactionsMs, 0.99),
    cpuShare,
  };
}

/** A thousand cgroups, each with real memory charged to it by one shell that goes from one to the next. */
async function charge(host: LinuxHost, root: string): Promise<void> {
  const { shared } = foldersOf(root);
  mkdirSync(shared, { recursive: true });
  insist(await host.cgroups.create(['pen', ...NAMES.map((name) => `pen/${name}`)].map((path) => ({ path }))));
  const pen = linuxCgroups({ root }).folder('pen');
  // `printf` is the shell's own: what it writes is charged to where the shell is. It leaves the last one as it ends.
  execFileSync('sh', [
    '-ec',
    `block=$(printf '%0${CHARGED_BYTES}d' 0)
     for name in ${NAMES.join(' ')}; do
       echo $$ > ${quote(pen)}/$name/cgroup.procs
       printf %s "$block" > ${quote(shared)}/$name
     done`,
  ]);
  const stat: MemoryStat = { anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 };
  const parent = host.cgroups.open('pen');
  const heldBytes = parent.readStat(stat).shmemBytes;
  parent.close();
  if (heldBytes < 0.9 * CGROUPS * CHARGED_BYTES)
    throw new Error(`the cgroups hold ${heldBytes} bytes, not ${CGROUPS * CHARGED_BYTES}: there is nothing to measure`);
}

const settings = (lineBytes: number, requestBytes: number, lookEveryMs = 100): SupervisorSettings => ({
  parent: 'pen',
  policy: { name: 'gaia' },
  line: {
    hardLimitBytes: bytes(lineBytes),
    killAtBytes: bytes(lineBytes),
    stopAtBytes: bytes(lineBytes),
    ceilingBytes: bytes(2 * lineBytes),
    lookEveryMs: milliseconds(lookEveryMs),
  },
  dry: false,
  containers: NAMES.map((name) => ({ name, cgroup: `pen/${name}`, requestBytes: bytes(requestBytes), priority: 0 })),
});

/** Microseconds of one look, the second's sample left out: median of many, after warming up. */
function lookUs(root: string, of: SupervisorSettings, policy: MemoryPolicy = gaia): number {
  const supervisor: Supervisor = supervisorFactory(() => policy)(linuxCgroups({ root }), of, () => {});
  try {
    // All of them within one second of the supervisor's own time, so that no look samples.
    let nowMs = supervisor.look(1);
    for (let look = 0; look < LOOKS / 4; look++) nowMs = supervisor.look(nowMs);
    const tookUs = Array.from({ length: LOOKS }, () => {
      const begun = process.hrtime.bigint();
      nowMs = supervisor.look(nowMs);
      return Number(process.hrtime.bigint() - begun) / 1000;
    });
    return quantile(tookUs, 0.5);
  } finally {
    supervisor.close();
  }
}

/** The share of a core that the real supervisor process takes at 10 far looks a second, samples included. */
async function share(host: LinuxHost): Promise<number> {
  insist(await host.supervision.supervise([settings(FAR_BYTES, GIB)]));
  const pid = supervisorPid();
  await host.clock.sleep(1000);
  const cpuBefore = cpuMs(pid);
  const before = monotonicMs();
  await host.clock.sleep(SHARE_OVER_MS);
  const part = (cpuMs(pid) - cpuBefore) / (monotonicMs() - before);
  insist(await host.supervision.release(['pen']));
  host.supervision.take();
  return part;
}

/** From crossing the line to SIGKILL sent, at a look each 10 ms: a container rises, and is killed, again and again. */
async function reactions(host: LinuxHost, lookMs: number): Promise<number[]> {
  insist(await host.cgroups.create(VICTIMS.map((name) => ({ path: `pen/${name}` }))));
  const parent = host.cgroups.open('pen');
  const stat: MemoryStat = { anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 };
  const total = (): number => parent.usageBytes() - parent.readStat(stat).inactiveFileBytes;
  const lineBytes = (await settled(host, total)) + RISE_BYTES / 2;
  const base = settings(lineBytes, GIB, 10);
  const victims = VICTIMS.map((name) => ({
    name,
    cgroup: `pen/${name}`,
    requestBytes: bytes(VICTIM_REQUEST_BYTES),
    priority: 0,
  }));
  insist(await host.supervision.supervise([{ ...base, containers: [...base.containers, ...victims] }]));
  const tookMs: number[] = [];
  for (const [kill, { name, cgroup }] of victims.entries()) {
    const startMs = milliseconds(100 + ((kill * 7) % 10));
    insist(
      await host.containers.start([
        {
          name,
          cgroup,
          workload: {
            memory: {
              kind: 'ramp',
              from: bytes(2 * MIB),
              to: bytes(2 * MIB + RISE_BYTES),
              startMs,
              overMs: milliseconds(200),
            },
          },
        },
      ]),
    );
    const crossedMs = watchCrossing(() => parent.usageBytes(), lineBytes + parent.readStat(stat).inactiveFileBytes);
    // An event bears the time its look began; the signal goes out when the children have been read, one look later.
    const decidedMs = await decisionMs(host);
    if (crossedMs !== null) tookMs.push(Math.max(0, decidedMs + lookMs - crossedMs));
    insist(await host.containers.stop([name]));
  }
  parent.close();
  insist(await host.supervision.release(['pen']));
  insist(await host.cgroups.remove(victims.map(({ cgroup }) => cgroup)));
  if (tookMs.length < CROSSINGS_MIN)
    throw new Error(`only ${tookMs.length} of ${KILLS} crossings were seen: the machine is too busy to measure on`);
  return tookMs;
}

/** The total once it stands still: what died a moment ago gives its memory back a little later. */
async function settled(host: LinuxHost, total: () => number): Promise<number> {
  for (let before = total(); ; before = total()) {
    await host.clock.sleep(300);
    if (Math.abs(total() - before) < MIB / 4) return total();
  }
}

/**
 * Watches without a pause and before all others, so that the crossing is known to a fraction of a millisecond. Reads
 * usage alone: memory.stat waits for the supervisor's own reads of it, and a whole rise and kill can pass meanwhile.
 * Null where it was missed all the same: on a busy machine this process may be held up longer than a kill takes.
 */
function watchCrossing(usage: () => number, lineBytes: number): number | null {
  setPriority(constants.priority.PRIORITY_HIGHEST);
  try {
    const untilMs = monotonicMs() + WATCH_MS;
    while (usage() <= lineBytes) if (monotonicMs() > untilMs) return null;
    return monotonicMs();
  } finally {
    // What is started next inherits it.
    setPriority(constants.priority.PRIORITY_NORMAL);
  }
}

async function decisionMs(host: LinuxHost): Promise<number> {
  const untilMs = monotonicMs() + 10_000;
  for (;;) {
    const decision = host.supervision.take().find((event) => event.kind === 'decision');
    if (decision !== undefined) return decision.atMs;
    if (monotonicMs() > untilMs) throw new Error('the supervisor never decided');
    await host.clock.sleep(2);
  }
}

/** The one child of this process that is a memory supervisor. */
function supervisorPid(): number {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number);
  const pid = children.find((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('memory-supervisor'));
  if (pid === undefined) throw new Error('no supervisor process is found under this one');
  return pid;
}

/** CPU time of all threads of a process, by the scheduler's own nanoseconds. */
const cpuMs = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(join(`/proc/${pid}/task`, task, 'schedstat'), 'utf8').split(' ')[0]) / 1e6)
    .reduce((sum, each) => sum + each, 0);

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.ceil(part * sorted.length) - 1] ?? Number.NaN;
}

function insist({ error }: Applied): void {
  if (error !== undefined) throw error;
}
