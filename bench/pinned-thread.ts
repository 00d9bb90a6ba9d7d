import { readdirSync, readFileSync } from 'node:fs';
import { execa } from 'execa';

/** Keeps the main thread of this process on one CPU, and tells what is spent there. */
export class PinnedThread {
  readonly #before: string;
  readonly #softirqStat: string | null;

  private constructor(before: string, softirqStat: string | null) {
    this.#before = before;
    this.#softirqStat = softirqStat;
  }

  /** On the last CPU that this process may use: interrupts of devices come to the first on most machines. */
  static async pin(): Promise<PinnedThread> {
    const before = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
    const cpu = /\d+$/.exec(before)![0];
    await setAffinity(cpu);
    return new PinnedThread(before, softirqThreadOf(cpu));
  }

  /**
   * Nanoseconds of this CPU since some moment: what passed on the clock less what the thread waited for the CPU
   * (/proc/PID/schedstat, the second number), so that interrupts count whether or not the kernel accounts for them apart
   * (CONFIG_IRQ_TIME_ACCOUNTING). A packet's whole way down to the uplink's other end is walked by the thread that sends it,
   * in its system call; what the kernel puts off to its own thread for such work is added.
   */
  spentNs(): number {
    const waitedNs = schedstat('/proc/thread-self/schedstat')[1]!;
    const putOffNs = this.#softirqStat === null ? 0 : schedstat(this.#softirqStat)[0]!;
    return Number(process.hrtime.bigint()) - waitedNs + putOffNs;
  }

  async release(): Promise<void> {
    await setAffinity(this.#before);
  }
}

const setAffinity = (cpus: string) => execa('taskset', ['--pid', '--cpu-list', cpus, String(process.pid)]);

const schedstat = (file: string): number[] => readFileSync(file, 'utf8').split(' ').map(Number);

/** Null where processes of the kernel are not seen from here. */
function softirqThreadOf(cpu: string): string | null {
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && commandOf(name) === `ksoftirqd/${cpu}`);
  return pid === undefined ? null : `/proc/${pid}/schedstat`;
}

function commandOf(pid: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    // It ended while we were looking.
    return null;
  }
}
