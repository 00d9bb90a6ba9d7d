import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { execa } from 'execa';
import { pause } from '../backends/linux/clock.ts';
import { Datagrams, DATAGRAMS_A_CALL } from '../backends/linux/stream-calls.ts';
import { AF_INET, connectSocket, openSocket, SOCK_DGRAM, socketAddress } from '../backends/linux/syscalls.ts';
import { parseAddress } from '../src/host/ipv4.ts';
import { type EgressPlace, NOBODY } from './egress-place.ts';

/** Small: the cost of a packet hardly depends on its size, and what it carries is not what is measured. */
const PAYLOAD_BYTES = 64;
/** The discard service (RFC 863), should anybody listen. */
const PORT = 9;

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

/** A socket in a place's first container. */
export class Load {
  readonly #place: EgressPlace;
  readonly #thread: PinnedThread;
  readonly #fd: number;
  readonly #datagrams = new Datagrams(PAYLOAD_BYTES);

  constructor(place: EgressPlace, thread: PinnedThread) {
    this.#place = place;
    this.#thread = thread;
    this.#fd = place.root.within(place.containers[0]!.name, () => openSocket(AF_INET, SOCK_DGRAM, 0));
    const refused = connectSocket(this.#fd, socketAddress(parseAddress(NOBODY), PORT));
    if (refused < 0)
      throw new Error(`${NOBODY} cannot be sent to from ${place.containers[0]!.name}: error ${-refused}`);
  }

  /** Microseconds of CPU that a packet takes to the uplink's other end. @throws Error where packets are lost on the way */
  costUs(packets: number): number {
    const arrived = this.#place.wirePackets();
    const begunNs = this.#thread.spentNs();
    let sent = 0;
    while (sent < packets) sent += Math.max(0, this.#datagrams.send(this.#fd, DATAGRAMS_A_CALL));
    const tookNs = this.#thread.spentNs() - begunNs;
    const delivered = this.#place.wirePackets() - arrived;
    // A question for a neighbour's address may be among them.
    if (Math.abs(delivered - sent) > sent / 1000)
      throw new Error(`of ${sent} packets ${delivered} came to the wire: there is nothing to measure`);
    return tookNs / 1000 / delivered;
  }

  /** The first asks for the gateway's address, and waits for the answer; those behind it get no room. */
  warmUp(): void {
    for (let time = 0; time < 10; time++) {
      this.#datagrams.send(this.#fd, 1);
      pause(5);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
