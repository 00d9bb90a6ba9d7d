import { burstOfTicks, burstTicks, type ClassCounters, SHAPER_MAJOR, type ShaperClass } from '../../src/host/shaper.ts';
import { attribute, Attributes, nested, text, u32 } from './netlink-codec.ts';

// include/uapi/linux/rtnetlink.h and pkt_sched.h; what tc (tc-htb(8), tc-fq_codel(8)) says in these messages.
export const RTM_NEWQDISC = 36;
export const RTM_DELQDISC = 37;
export const RTM_GETQDISC = 38;
export const RTM_NEWTCLASS = 40;
export const RTM_DELTCLASS = 41;
export const RTM_GETTCLASS = 42;

/** The qdisc's own handle, `504c:`; with a minor below, that of a class. */
export const HANDLE = SHAPER_MAJOR * 0x1_0000;
export const TC_H_ROOT = 0xffff_ffff;
const MINOR_MASK = 0xffff;

const TCA = { kind: 1, options: 2, stats2: 7 } as const;
const HTB = { parms: 1, init: 2, rate64: 6, ceil64: 7 } as const;
const FQ_CODEL = { limit: 2, flows: 5 } as const;
const STATS = { basic: 1, queue: 3, packets64: 8 } as const;
const HEADER_BYTES = 20;
/** HTB_VER less its minor number: what sch_htb.c insists on. */
const HTB_VERSION = 3;
/** Quanta of classes that name none come from their rates by this; ours all name one, so it is tc's own default. */
const RATE_TO_QUANTUM = 10;
const TC_LINKLAYER_ETHERNET = 1;
const U32_MAX = 0xffff_ffff;

/**
 * Of each class's fq_codel. A flow costs 68 bytes (fq_codel_init in net/sched/sch_fq_codel.c), so these make 4 KiB a class
 * and 22 MB of 5,000; the kernel's own 1024 flows would make 340 MB. One container rarely has more that send at once.
 */
export const FAIR_QUEUE_FLOWS = 64;
/** As many packets as the FIFO in its place holds (a link's `txqueuelen`); the kernel's own 10,240 are for a whole link. */
export const FAIR_QUEUE_PACKETS = 1000;

/** struct tcmsg. */
export interface TrafficHeader {
  readonly index: number;
  readonly handle?: number;
  readonly parent?: number;
  readonly info?: number;
}

export function trafficHeader({ index, handle = 0, parent = 0, info = 0 }: TrafficHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt32LE(handle, 8);
  bytes.writeUInt32LE(parent, 12);
  bytes.writeUInt32LE(info, 16);
  return bytes;
}

/** TCA_KIND and TCA_OPTIONS. */
export const kindOf = (kind: string, options: readonly Buffer[]): Buffer[] => [
  text(TCA.kind, kind),
  nested(TCA.options, options),
];

/** An HTB as the root of a link. */
export function qdiscBody(index: number, defaultMinor: number): Buffer[] {
  // struct tc_htb_glob: version, rate2quantum, defcls, debug, direct_pkts.
  const glob = Buffer.alloc(20);
  glob.writeUInt32LE(HTB_VERSION, 0);
  glob.writeUInt32LE(RATE_TO_QUANTUM, 4);
  glob.writeUInt32LE(defaultMinor, 8);
  return [trafficHeader({ index, handle: HANDLE, parent: TC_H_ROOT }), ...kindOf('htb', [attribute(HTB.init, glob)])];
}

/** A class of it. That its link is said to be an Ethernet is what spares a table of the times of packet sizes (htb_change_class). */
export function classBody(index: number, wanted: ShaperClass): Buffer[] {
  const { minor, parentMinor, rateBitsPerSec, ceilBitsPerSec, burstBytes, ceilBurstBytes, quantumBytes } = wanted;
  const [rate, ceil] = [Math.floor(rateBitsPerSec / 8), Math.floor(ceilBitsPerSec / 8)];
  // struct tc_htb_opt: two tc_ratespec of 12 bytes, buffer, cbuffer, quantum, level, prio.
  const options = Buffer.alloc(44);
  for (const [at, bytesPerSec] of [
    [0, rate],
    [12, ceil],
  ] as const) {
    options.writeUInt8(TC_LINKLAYER_ETHERNET, at + 1);
    options.writeUInt32LE(Math.min(bytesPerSec, U32_MAX), at + 8);
  }
  options.writeUInt32LE(burstTicks(burstBytes, rateBitsPerSec), 24);
  options.writeUInt32LE(burstTicks(ceilBurstBytes, ceilBitsPerSec), 28);
  options.writeUInt32LE(quantumBytes, 32);
  return [
    trafficHeader({ index, handle: HANDLE + minor, parent: HANDLE + parentMinor }),
    ...kindOf('htb', [
      attribute(HTB.parms, options),
      ...(rate > U32_MAX ? [u64(HTB.rate64, rate)] : []),
      ...(ceil > U32_MAX ? [u64(HTB.ceil64, ceil)] : []),
    ]),
  ];
}

/** The queue of a class; the kernel chooses its handle. */
export const fairQueueBody = (index: number, minor: number): Buffer[] => [
  trafficHeader({ index, parent: HANDLE + minor }),
  ...kindOf('fq_codel', [u32(FQ_CODEL.limit, FAIR_QUEUE_PACKETS), u32(FQ_CODEL.flows, FAIR_QUEUE_FLOWS)]),
];

function u64(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return attribute(type, bytes);
}

/** A qdisc as it is told. */
export interface QdiscRecord {
  readonly index: number;
  readonly handle: number;
  readonly parent: number;
  readonly type: string;
  /** Of an HTB. */
  readonly defaultMinor: number;
  /** Is it an fq_codel as ours are? */
  readonly isFairQueue: boolean;
  readonly droppedPackets: number;
}

/** @param index other links are left out, unread */
export function readQdisc(body: Buffer, index: number): QdiscRecord | undefined {
  if (body.readInt32LE(4) !== index) return undefined;
  const attributes = new Attributes(body, HEADER_BYTES);
  const type = attributes.text(TCA.kind) ?? '';
  const options = type === 'htb' || type === 'fq_codel' ? attributes.nested(TCA.options) : undefined;
  return {
    index,
    handle: body.readUInt32LE(8),
    parent: body.readUInt32LE(12),
    type,
    defaultMinor: type === 'htb' ? (options?.bytes(HTB.init)?.readUInt32LE(8) ?? 0) : 0,
    isFairQueue:
      type === 'fq_codel' &&
      options?.u32(FQ_CODEL.flows) === FAIR_QUEUE_FLOWS &&
      options.u32(FQ_CODEL.limit) === FAIR_QUEUE_PACKETS,
    droppedPackets: droppedIn(attributes.nested(TCA.stats2)),
  };
}

/** A class as it is told. */
export interface ClassRecord {
  readonly numbers: Omit<ShaperClass, 'kind' | 'namespace' | 'name' | 'fairQueue'>;
  /** The handle of its queue; 0: the FIFO that a class has of itself, or none. */
  readonly queue: number;
  /** Has it others under it? */
  readonly isInner: boolean;
}

/** Undefined: no class of ours. */
export function readClass(body: Buffer): ClassRecord | undefined {
  const handle = body.readUInt32LE(8);
  if (handle - (handle & MINOR_MASK) !== HANDLE) return undefined;
  const options = new Attributes(body, HEADER_BYTES).nested(TCA.options);
  const parms = options?.bytes(HTB.parms);
  // Under the same handle there may be a qdisc of another kind.
  if (options === undefined || parms === undefined || parms.length < 44) return undefined;
  const parent = body.readUInt32LE(12);
  const rateOf = (at: number, type: number): number =>
    8 * Number(options.bytes(type)?.readBigUInt64LE() ?? parms.readUInt32LE(at + 8));
  const [rateBitsPerSec, ceilBitsPerSec] = [rateOf(0, HTB.rate64), rateOf(12, HTB.ceil64)];
  return {
    numbers: {
      minor: handle & MINOR_MASK,
      parentMinor: parent === TC_H_ROOT ? 0 : parent & MINOR_MASK,
      rateBitsPerSec,
      ceilBitsPerSec,
      burstBytes: burstOfTicks(parms.readUInt32LE(24), rateBitsPerSec),
      ceilBurstBytes: burstOfTicks(parms.readUInt32LE(28), ceilBitsPerSec),
      quantumBytes: parms.readUInt32LE(32),
    },
    queue: body.readUInt32LE(16),
    // Level 0 is a leaf (htb_dump_class).
    isInner: parms.readUInt32LE(36) !== 0,
  };
}

export type Passed = Pick<ClassCounters, 'minor' | 'sentBytes' | 'sentPackets' | 'droppedPackets'> & {
  readonly queue: number;
};

/** What passed a class; undefined: no class of ours. */
export function readPassed(body: Buffer): Passed | undefined {
  const handle = body.readUInt32LE(8);
  if (handle - (handle & MINOR_MASK) !== HANDLE) return undefined;
  const stats = new Attributes(body, HEADER_BYTES).nested(TCA.stats2);
  // struct gnet_stats_basic: bytes in 64 bits, packets in 32; where those do not hold them, all once more in 64.
  const basic = stats?.bytes(STATS.basic);
  const packets = stats?.bytes(STATS.packets64)?.readBigUInt64LE() ?? basic?.readUInt32LE(8) ?? 0;
  return {
    minor: handle & MINOR_MASK,
    sentBytes: Number(basic?.readBigUInt64LE() ?? 0),
    sentPackets: Number(packets),
    droppedPackets: droppedIn(stats),
    queue: body.readUInt32LE(16),
  };
}

/** struct gnet_stats_queue: qlen, backlog, drops, requeues, overlimits. */
const droppedIn = (stats: Attributes | undefined): number => stats?.bytes(STATS.queue)?.readUInt32LE(8) ?? 0;
