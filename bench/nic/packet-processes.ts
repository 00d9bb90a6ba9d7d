import { PacketProcess } from './packet-process.ts';

/** Processes of packets that are kept between their works: one takes half a second to start, and a search begins hundreds. */
export class PacketProcesses {
  readonly #idle: PacketProcess[] = [];
  readonly #all = new Set<PacketProcess>();

  take(): PacketProcess {
    for (;;) {
      const kept = this.#idle.pop();
      if (kept === undefined) break;
      if (!kept.isGone) return kept;
      this.#all.delete(kept);
    }
    const process = new PacketProcess();
    this.#all.add(process);
    return process;
  }

  /** Those that have done their work. */
  giveBack(processes: readonly PacketProcess[]): void {
    this.#idle.push(...processes);
  }

  /** Those that have not. */
  async end(processes: readonly PacketProcess[]): Promise<void> {
    await Promise.all(processes.map((each) => each.end()));
    for (const each of processes) this.#all.delete(each);
  }

  async close(): Promise<void> {
    await this.end([...this.#all]);
    this.#idle.length = 0;
  }
}
