import type { CgroupReader, Cgroups, MemoryStat } from '../host/cgroups.ts';
import type { Supervisor, SupervisorEvent, SupervisorFactory, SupervisorSettings } from '../host/supervision.ts';
import { MIB } from '../host/units.ts';
import { checked, PolicyFault } from './checked.ts';
import { type Child, type Depth, isGone, newChild, openIfThere, readChild } from './children.ts';
import type { MemoryPolicy, Snapshot, Victim } from './policy.ts';

/** What a victim still holds is left out this long after its signal; 70 ms a GB is what death takes on a sane kernel. */
const GRACE_MS = 1000;

/**
 * What a dead container's cgroup keeps of it: the kernel's own memory and each CPU's stock of 64 charged pages. Measured:
 * 144 KiB on kernel 6.18. Nobody wants to hear of that.
 */
const RESIDUE_BYTES = MIB;

/** Children are sampled this often, whatever the looks do. */
const SAMPLE_EVERY_MS = 1000;

/**
 * So many children have their `memory.stat` read for a sample, in turn, so that sampling a thousand stays cheap (12 us
 * each); of the others the cache of their last reading is taken off. Up to here every sample is exact.
 */
const STATS_A_SAMPLE = 100;

/** A failed kill is tried again after this. */
const RETRY_MS = 1000;

/** Makes supervisors that find their policy with `resolve`; it may throw where there is none of that name. */
export const supervisorFactory =
  (resolve: (settings: SupervisorSettings) => MemoryPolicy): SupervisorFactory =>
  (cgroups, settings, emit) =>
    new MemorySupervisor(cgroups, settings, resolve, emit);

/**
 * Watches over one machine's containers. While the total is under the policy's line a look reads the parent alone;
 * past it, the children, and kills until the policy names nobody.
 */
class MemorySupervisor implements Supervisor {
  readonly #cgroups: Pick<Cgroups, 'open' | 'kill'>;
  readonly #resolve: (settings: SupervisorSettings) => MemoryPolicy;
  readonly #emit: (event: SupervisorEvent) => void;
  readonly #stat: MemoryStat = { anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 };
  #settings!: SupervisorSettings;
  #policy!: MemoryPolicy;
  #actsAboveBytes = 0;
  #depth: Depth = 'excess';
  #children: Child[] = [];
  #snapshot!: Columns;
  #parent: CgroupReader | undefined;
  #nextLookMs = Number.NEGATIVE_INFINITY;
  #nextSampleMs = Number.NEGATIVE_INFINITY;
  #nextStat = 0;
  /** The parent's inactive file cache, when it was last read. */
  #cacheBytes = 0;
  #lastTrouble = { message: '', atMs: Number.NEGATIVE_INFINITY };

  constructor(
    cgroups: Pick<Cgroups, 'open' | 'kill'>,
    settings: SupervisorSettings,
    resolve: (settings: SupervisorSettings) => MemoryPolicy,
    emit: (event: SupervisorEvent) => void,
  ) {
    this.#cgroups = cgroups;
    this.#resolve = resolve;
    this.#emit = emit;
    this.configure(settings);
  }

  configure(settings: SupervisorSettings): void {
    const policy = checked(this.#resolve(settings));
    const actsAboveBytes =
      policy.decide === undefined ? Number.POSITIVE_INFINITY : (policy.actsAboveBytes?.(settings.line) ?? -1);
    // Who was chosen in dry mode was never signalled.
    const livesAnew = this.#settings !== undefined && this.#settings.dry !== settings.dry;
    if (this.#settings !== undefined && settings.parent !== this.#settings.parent) this.#closeParent();
    const known = new Map(this.#children.map((child) => [child.container.name, child]));
    this.#children = settings.containers.map((container) => {
      const before = known.get(container.name);
      if (before?.container.cgroup !== container.cgroup) return newChild(container);
      known.delete(container.name);
      return livesAnew
        ? { ...before, container, signalledAtMs: Number.NaN, passedOver: false }
        : { ...before, container };
    });
    for (const gone of known.values()) gone.reader?.close();
    this.#settings = settings;
    this.#policy = policy;
    this.#nextLookMs = Number.NEGATIVE_INFINITY;
    this.#actsAboveBytes = actsAboveBytes;
    this.#depth = policy.needs.some((signal) => signal === 'workingSet' || signal === 'rss') ? 'all' : 'excess';
    this.#snapshot = columns(settings);
  }

  look(nowMs: number): number {
    const { lookEveryMs } = this.#settings.line;
    try {
      const isDue = nowMs >= this.#nextLookMs;
      if (isDue) this.#nextLookMs = nowMs + lookEveryMs;
      this.#lookAt(nowMs, isDue);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#trouble(nowMs, isGone(error) ? 'the parent cgroup went away' : message);
      this.#closeParent();
    }
    // Where looks come often enough, a sample waits for the next.
    return lookEveryMs <= SAMPLE_EVERY_MS ? this.#nextLookMs : Math.min(this.#nextLookMs, nowMs + SAMPLE_EVERY_MS);
  }

  close(): void {
    this.#closeParent();
    for (const child of this.#children) child.reader?.close();
    this.#children = [];
  }

  #lookAt(nowMs: number, isDue: boolean): void {
    const parent = (this.#parent ??= openIfThere(this.#cgroups, this.#settings.parent));
    if (parent === undefined) return;
    const sampling = nowMs >= this.#nextSampleMs;
    // Usage is never below the working set: one small read settles most looks.
    if (!sampling && (!isDue || parent.usageBytes() <= this.#actsAboveBytes)) return;
    const workingSetBytes = this.#workingSet(parent);
    if (!sampling && workingSetBytes <= this.#actsAboveBytes) return;
    this.#readChildren();
    if (sampling) this.#sample(nowMs, workingSetBytes);
    if (isDue && workingSetBytes > this.#actsAboveBytes) this.#decide(nowMs, parent, workingSetBytes);
  }

  #workingSet(parent: CgroupReader): number {
    const usageBytes = parent.usageBytes();
    this.#cacheBytes = parent.readStat(this.#stat).inactiveFileBytes;
    return Math.max(0, usageBytes - this.#cacheBytes);
  }

  #readChildren(): void {
    for (const child of this.#children) readChild(child, this.#cgroups, this.#depth, this.#stat);
  }

  #decide(nowMs: number, parent: CgroupReader, readBytes: number): void {
    const snapshot = this.#snapshot;
    snapshot.killedInLook = 0;
    snapshot.totalBytes = readBytes - this.#heldBytes(nowMs);
    this.#emit({ kind: 'look', atMs: nowMs, totalBytes: snapshot.totalBytes });
    if (snapshot.totalBytes <= this.#actsAboveBytes) return;
    for (;;) {
      this.#fill(nowMs);
      const victims = this.#ask(nowMs);
      for (const victim of victims) this.#kill(nowMs, victim);
      if (victims.length === 0) return;
      snapshot.killedInLook += victims.length;
      this.#readChildren();
      snapshot.totalBytes = this.#workingSet(parent) - this.#heldBytes(nowMs);
    }
  }

  /** What signalled victims still hold, for their time of grace; in dry mode as long as they live. */
  #heldBytes(nowMs: number): number {
    let held = 0;
    for (const child of this.#children) {
      if (Number.isNaN(child.signalledAtMs)) continue;
      if (this.#settings.dry || nowMs - child.signalledAtMs < GRACE_MS) held += child.workingSetBytes;
      else if (!child.passedOver && child.workingSetBytes > RESIDUE_BYTES) {
        child.passedOver = true;
        this.#emit({
          kind: 'passedOver',
          atMs: nowMs,
          container: child.container.name,
          heldBytes: child.workingSetBytes,
        });
      }
    }
    return held;
  }

  /** Every column anew: a policy may have written into those it was handed. */
  #fill(nowMs: number): void {
    const snapshot = this.#snapshot;
    for (const [index, child] of this.#children.entries()) {
      snapshot.requestBytes[index] = child.container.requestBytes;
      snapshot.priority[index] = child.container.priority;
      snapshot.workingSetBytes[index] = child.workingSetBytes;
      snapshot.rssBytes[index] = child.rssBytes;
      snapshot.killable[index] = isKillable(child, nowMs) ? 1 : 0;
    }
  }

  #ask(nowMs: number): readonly Victim[] {
    try {
      const victims = this.#policy.decide?.(this.#snapshot) ?? [];
      const asked = new Set<number>();
      for (const { index } of victims) {
        const child = this.#children[index];
        if (child === undefined || !isKillable(child, nowMs) || asked.has(index))
          throw new PolicyFault(
            `policy ${this.#policy.name} names container ${index}, which is not there to be killed`,
          );
        asked.add(index);
      }
      return victims;
    } catch (error) {
      this.#trouble(nowMs, `${error instanceof Error ? error.message : String(error)}; nobody was killed`);
      return [];
    }
  }

  #kill(nowMs: number, { index, reason }: Victim): void {
    const child = this.#children[index]!;
    const decision = {
      kind: 'decision',
      atMs: nowMs,
      container: child.container.name,
      totalBytes: this.#snapshot.totalBytes,
      workingSetBytes: child.workingSetBytes,
      requestBytes: child.container.requestBytes,
      reason,
    } as const;
    try {
      if (!this.#settings.dry) this.#cgroups.kill(child.container.cgroup);
      child.signalledAtMs = nowMs;
      this.#emit({ ...decision, outcome: this.#settings.dry ? 'dry' : 'killed' });
    } catch (error) {
      child.retryAtMs = nowMs + RETRY_MS;
      this.#emit({ ...decision, outcome: 'failed', error: error instanceof Error ? error.message : String(error) });
    }
  }

  #sample(nowMs: number, totalBytes: number): void {
    // On the grid of its own period, so that late looks do not drift.
    this.#nextSampleMs = nowMs - (nowMs % SAMPLE_EVERY_MS) + SAMPLE_EVERY_MS;
    const { length } = this.#children;
    // Where there is no cache to speak of, there is none to take off.
    const reads = this.#cacheBytes > RESIDUE_BYTES ? Math.min(length, STATS_A_SAMPLE) : 0;
    for (let read = 0; read < reads; read++) {
      readChild(this.#children[this.#nextStat++ % length]!, this.#cgroups, 'all', this.#stat);
    }
    const workingSetBytes: Record<string, number> = {};
    for (const { container, reader, usageBytes, cacheBytes } of this.#children) {
      if (reader === undefined) continue;
      workingSetBytes[container.name] = reads > 0 ? Math.max(0, usageBytes - cacheBytes) : usageBytes;
    }
    this.#emit({ kind: 'sample', atMs: nowMs, totalBytes, workingSetBytes });
  }

  /** Says the same trouble once a second at most, however often it comes. */
  #trouble(nowMs: number, message: string): void {
    if (message === this.#lastTrouble.message && nowMs - this.#lastTrouble.atMs < SAMPLE_EVERY_MS) return;
    this.#lastTrouble = { message, atMs: nowMs };
    this.#emit({ kind: 'trouble', atMs: nowMs, message });
  }

  #closeParent(): void {
    this.#parent?.close();
    this.#parent = undefined;
  }
}

/** Does it live, with no signal under way to it? */
const isKillable = ({ reader, workingSetBytes, signalledAtMs, retryAtMs }: Child, nowMs: number): boolean =>
  reader !== undefined && workingSetBytes > 0 && Number.isNaN(signalledAtMs) && nowMs >= retryAtMs;

type Columns = { -readonly [K in keyof Snapshot]: Snapshot[K] };

function columns({ containers, line }: SupervisorSettings): Columns {
  const count = containers.length;
  return {
    count,
    names: Object.freeze(containers.map((container) => container.name)),
    requestBytes: new Float64Array(count),
    priority: new Float64Array(count),
    workingSetBytes: new Float64Array(count),
    rssBytes: new Float64Array(count),
    killable: new Uint8Array(count),
    totalBytes: 0,
    line: Object.freeze({ ...line }),
    killedInLook: 0,
  };
}
