import type { ClassCounters, ShaperClass } from '../../src/host/shaper.ts';
import { errnoOf, Refusal } from './errors.ts';
import { FLAG } from './netlink-codec.ts';
import type { Netlink } from './netlink.ts';
import { type Classifier, dropFilter, hasFilter, layFilter } from './shaper-filter.ts';
import {
  classBody,
  type ClassRecord,
  fairQueueBody,
  HANDLE,
  qdiscBody,
  type QdiscRecord,
  readClass,
  readPassed,
  readQdisc,
  RTM_DELQDISC,
  RTM_DELTCLASS,
  RTM_GETQDISC,
  RTM_GETTCLASS,
  RTM_NEWQDISC,
  RTM_NEWTCLASS,
  TC_H_ROOT,
  trafficHeader,
} from './shaper-message.ts';

/** What a link's class is, without where. */
type BareClass = Omit<ShaperClass, 'kind' | 'namespace' | 'name'>;
type BareCounters = Omit<ClassCounters, 'namespace' | 'name'>;

/** As tc writes it: `504c:`, `504c:1f`. */
export const handleText = (handle: number): string =>
  `${(handle >>> 16).toString(16)}:${(handle & 0xff_ff) === 0 ? '' : (handle & 0xff_ff).toString(16)}`;

// A question about one thing is answered to all who listen for changes, and to him who asks only with FLAG.echo
// (rtnetlink_send in net/sched/sch_api.c).

/** What shapes one link, for the length of one call: its root is read once, and kept up from there. */
export class ShapedLink {
  readonly netlink: Netlink;
  readonly #index: number;
  #root: QdiscRecord | undefined;
  /** Classes that are surely there: what parents are looked for among. */
  readonly #there = new Set<number>();

  constructor(netlink: Netlink, index: number) {
    this.netlink = netlink;
    this.#index = index;
    this.#root = this.#readRoot();
  }

  /** The root qdisc that somebody laid; those that the kernel attaches by itself have no handle. */
  get root(): QdiscRecord | undefined {
    return this.#root;
  }

  isOurs(): boolean {
    return this.#root?.handle === HANDLE && this.#root.type === 'htb';
  }

  addQdisc(defaultMinor: number): void {
    if (this.#root === undefined) {
      try {
        this.netlink.request(RTM_NEWQDISC, FLAG.create | FLAG.exclusive, qdiscBody(this.#index, defaultMinor));
      } catch (error) {
        throw withoutKind(error, 'this kernel has no HTB (CONFIG_NET_SCH_HTB)');
      }
      this.#root = this.#readRoot();
      return;
    }
    const { type, handle, defaultMinor: is } = this.#root;
    if (!this.isOurs())
      throw new Refusal('EEXIST', `its root qdisc is somebody else's: ${type} ${handleText(handle)}`, undefined);
    if (is !== defaultMinor)
      throw new Refusal('EEXIST', `its default is ${handleText(HANDLE + is)}, which an HTB cannot change`, undefined);
  }

  removeQdisc(): void {
    this.netlink.request(RTM_DELQDISC, 0, [trafficHeader({ index: this.#index, handle: HANDLE, parent: TC_H_ROOT })]);
    this.#root = undefined;
    this.#there.clear();
  }

  addClass(wanted: ShaperClass): void {
    this.#insistOnQdisc();
    this.#insistOnParent(wanted.parentMinor);
    const is = this.#makeClass(wanted);
    if (is !== undefined) this.#changeClass(is, wanted);
    this.#there.add(wanted.minor);
    const isFair = is !== undefined && this.#isFair(is);
    if (isFair === wanted.fairQueue) return;
    // Another queue gives way: a number of flows cannot be changed (fq_codel_change in net/sched/sch_fq_codel.c).
    if (is !== undefined && is.queue !== 0)
      this.netlink.request(RTM_DELQDISC, 0, [trafficHeader({ index: this.#index, parent: HANDLE + wanted.minor })]);
    if (wanted.fairQueue) this.#layQueue(wanted.minor, is === undefined);
  }

  removeClass(minor: number): void {
    this.netlink.request(RTM_DELTCLASS, 0, [trafficHeader({ index: this.#index, handle: HANDLE + minor })]);
    this.#there.delete(minor);
  }

  addFilter(classifiers: readonly Classifier[]): void {
    this.#insistOnQdisc();
    layFilter(this.netlink, this.#index, classifiers);
  }

  removeFilter(): void {
    dropFilter(this.netlink, this.#index);
  }

  hasFilter(): boolean {
    return hasFilter(this.netlink, this.#index);
  }

  classes(): BareClass[] {
    const records = this.#dumpClasses(readClass);
    const queues = this.#queues(records);
    return records.map(({ numbers, queue }) => ({
      ...numbers,
      fairQueue: queues.get(queue)?.isFairQueue ?? false,
    }));
  }

  passed(): BareCounters[] {
    const records = this.#dumpClasses(readPassed);
    const queues = this.#queues(records);
    // A class counts what its queue would not take; an fq_codel drops later, too, and counts all since it is there.
    return records.map(({ queue, ...one }) => ({
      ...one,
      droppedPackets: Math.max(one.droppedPackets, queues.get(queue)?.droppedPackets ?? 0),
    }));
  }

  /** Undefined: it was made. Otherwise what is there in its place. */
  #makeClass(wanted: ShaperClass): ClassRecord | undefined {
    try {
      this.netlink.request(RTM_NEWTCLASS, FLAG.create | FLAG.exclusive, classBody(this.#index, wanted));
      return undefined;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      const is = this.#findClass(wanted.minor);
      if (is === undefined) throw error;
      return is;
    }
  }

  #changeClass({ numbers: is, isInner }: ClassRecord, wanted: ShaperClass): void {
    if (is.parentMinor !== wanted.parentMinor)
      throw new Refusal('EEXIST', `it is under ${handleText(HANDLE + is.parentMinor)}, and stays there`, undefined);
    if (isInner && wanted.fairQueue)
      throw new Refusal('EINVAL', 'a class with others under it has no queue of its own', undefined);
    // The kernel says yes and does nothing (htb_change_class).
    if (isInner && is.quantumBytes !== wanted.quantumBytes)
      throw new Refusal('EBUSY', `a class with others under it keeps its quantum, ${is.quantumBytes}`, undefined);
    if (!isSame(is, wanted)) this.netlink.request(RTM_NEWTCLASS, FLAG.create, classBody(this.#index, wanted));
  }

  /** A class without the queue that was asked for would be another than the one asked for: so it goes. */
  #layQueue(minor: number, isNew: boolean): void {
    try {
      this.netlink.request(RTM_NEWQDISC, FLAG.create | FLAG.exclusive, fairQueueBody(this.#index, minor));
    } catch (error) {
      if (isNew) this.removeClass(minor);
      throw withoutKind(error, 'this kernel has no fq_codel (CONFIG_NET_SCH_FQ_CODEL)');
    }
  }

  #insistOnQdisc(): void {
    if (!this.isOurs()) throw new Refusal('ENOENT', `the link has no qdisc ${handleText(HANDLE)}`, undefined);
  }

  /** The kernel would take a parent that is not there for the qdisc (htb_change_class). */
  #insistOnParent(minor: number): void {
    if (minor === 0 || this.#there.has(minor)) return;
    if (this.#findClass(minor) === undefined)
      throw new Refusal('ENOENT', `there is no class ${handleText(HANDLE + minor)} to be its parent`, undefined);
    this.#there.add(minor);
  }

  #findClass(minor: number): ClassRecord | undefined {
    try {
      return readClass(
        this.netlink.get(RTM_GETTCLASS, [trafficHeader({ index: this.#index, handle: HANDLE + minor })], FLAG.echo),
      );
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  #isFair({ numbers, queue }: ClassRecord): boolean {
    return queue !== 0 && this.#getQdisc(HANDLE + numbers.minor)?.isFairQueue === true;
  }

  #readRoot(): QdiscRecord | undefined {
    const root = this.#getQdisc(TC_H_ROOT);
    return root?.handle === 0 ? undefined : root;
  }

  /** What hangs there; undefined where that is nothing, or what the kernel keeps to itself: then it gives no answer at all. */
  #getQdisc(parent: number): QdiscRecord | undefined {
    try {
      const body = this.netlink.get(RTM_GETQDISC, [trafficHeader({ index: this.#index, parent })], FLAG.echo);
      return readQdisc(body, this.#index);
    } catch (error) {
      const code = errnoOf(error);
      // EINVAL, in older kernels (tc_get_qdisc in net/sched/sch_api.c).
      if (code === 'EAGAIN' || code === 'ENOENT' || code === 'EINVAL') return undefined;
      throw error;
    }
  }

  /** Named by its parent, the qdisc: otherwise the classes of all queues under it come too, each flow of an fq_codel one. */
  #dumpClasses<T>(read: (body: Buffer) => T | undefined): T[] {
    return this.netlink.dump(RTM_GETTCLASS, [trafficHeader({ index: this.#index, parent: HANDLE })], read);
  }

  /** The queues of classes, by their handle. The kernel gives those of all links, so they are asked for only where there are some. */
  #queues(classes: readonly { readonly queue: number }[]): Map<number, QdiscRecord> {
    if (classes.every(({ queue }) => queue === 0)) return new Map();
    const all = this.netlink.dump(RTM_GETQDISC, [trafficHeader({ index: this.#index })], (body) =>
      readQdisc(body, this.#index),
    );
    return new Map(all.map((qdisc) => [qdisc.handle, qdisc]));
  }
}

/** ENOENT is what a kind that is not in the kernel gives (qdisc_create in net/sched/sch_api.c). */
const withoutKind = (error: unknown, detail: string): unknown =>
  errnoOf(error) === 'ENOENT' ? new Refusal('EOPNOTSUPP', detail, error) : error;

const isSame = (is: ClassRecord['numbers'], wanted: ShaperClass): boolean =>
  is.rateBitsPerSec === wanted.rateBitsPerSec &&
  is.ceilBitsPerSec === wanted.ceilBitsPerSec &&
  is.burstBytes === wanted.burstBytes &&
  is.ceilBurstBytes === wanted.ceilBurstBytes &&
  is.quantumBytes === wanted.quantumBytes;
