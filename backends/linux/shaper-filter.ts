import { errnoOf, Refusal } from './errors.ts';
import { attribute, Attributes, FLAG, text } from './netlink-codec.ts';
import type { Netlink } from './netlink.ts';
import { HANDLE, kindOf, trafficHeader } from './shaper-message.ts';

const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;
const TCA = { kind: 1, options: 2 } as const;
const BPF = { act: 1, classid: 3, opsLen: 4, ops: 5, flags: 8 } as const;
/** TCA_BPF_FLAG_ACT_DIRECT: what the program returns is an action, no class. */
const BPF_ACT_DIRECT = 1;

/** The first of all priorities, so that nothing stands before it; every protocol (ETH_P_ALL, in network byte order). */
const PRIORITY = 1;
const INFO = PRIORITY * 0x1_0000 + 0x03_00;

/**
 * The program of the one filter, in classic BPF: a mark from 504c:1 to 504c:ffff is the class itself, any other is
 * nobody's. Each instruction: code, jumps where true and false, operand (include/uapi/linux/bpf_common.h); the mark is at
 * SKF_AD_OFF + SKF_AD_MARK (linux/filter.h). What is returned is the classid (cls_bpf_classify in net/sched/cls_bpf.c).
 */
export const PROGRAM: readonly (readonly [code: number, jt: number, jf: number, k: number])[] = [
  [0x20, 0, 0, 0xffff_f000 + 20],
  [0x25, 2, 0, HANDLE + 0xffff],
  [0x25, 0, 1, HANDLE],
  [0x16, 0, 0, 0],
  [0x06, 0, 0, 0],
];

const OPS = Buffer.concat(
  PROGRAM.map(([code, jt, jf, k]) => {
    const instruction = Buffer.alloc(8);
    instruction.writeUInt16LE(code, 0);
    instruction.writeUInt8(jt, 2);
    instruction.writeUInt8(jf, 3);
    instruction.writeUInt32LE(k, 4);
    return instruction;
  }),
);

/** What can take a mark as a class: a program, or on a kernel without, cls_fw, which without handles does just this. */
export type Classifier = 'bpf' | 'fw';
export const CLASSIFIERS: readonly Classifier[] = ['bpf', 'fw'];
const NAMES = { bpf: 'cls_bpf (CONFIG_NET_CLS_BPF)', fw: 'cls_fw (CONFIG_NET_CLS_FW)' } as const;

const filterBody = (index: number, kind: Classifier): Buffer[] => {
  const header = trafficHeader({ index, parent: HANDLE, info: INFO });
  if (kind === 'fw') return [header, text(TCA.kind, 'fw')];
  const length = Buffer.alloc(2);
  length.writeUInt16LE(PROGRAM.length);
  return [header, ...kindOf('bpf', [attribute(BPF.opsLen, length), attribute(BPF.ops, OPS)])];
};

interface FilterRecord {
  readonly priority: number;
  /** As the kernel packs priority and protocol. */
  readonly info: number;
  readonly kind: string;
  readonly handle: number;
  readonly isOurs: boolean;
}

function readFilter(body: Buffer): FilterRecord {
  const attributes = new Attributes(body, 20);
  const info = body.readUInt32LE(16);
  const handle = body.readUInt32LE(8);
  const kind = attributes.text(TCA.kind) ?? '';
  const options = attributes.nested(TCA.options);
  return { priority: info >>> 16, info, kind, handle, isOurs: info === INFO && isOurs(kind, handle, options) };
}

function isOurs(kind: string, handle: number, options: Attributes | undefined): boolean {
  if (kind === 'fw') return handle === 0 && options === undefined;
  return (
    kind === 'bpf' &&
    options?.bytes(BPF.ops)?.equals(OPS) === true &&
    !options.has(BPF.classid) &&
    !options.has(BPF.act) &&
    ((options.u32(BPF.flags) ?? 0) & BPF_ACT_DIRECT) === 0
  );
}

/** The filters of the first priority. A kind is told once by itself, with handle 0, and then each filter that it has. */
function firstFilters(netlink: Netlink, index: number): FilterRecord[] {
  const found = new Map<string, FilterRecord>();
  try {
    netlink.dump(RTM_GETTFILTER, [trafficHeader({ index, parent: HANDLE })], (body) => {
      const filter = readFilter(body);
      found.set(`${filter.info} ${filter.handle}`, filter);
      return undefined;
    });
  } catch (error) {
    // A cls_fw without handles ends every dump so: the kernel takes it for one that found no room (fw_walk, tc_dump_tfilter).
    if (errnoOf(error) !== 'EMSGSIZE' || ![...found.values()].some(({ kind }) => kind === 'fw')) throw error;
  }
  return [...found.values()].filter(({ priority }) => priority === PRIORITY);
}

/** Is the filter there, and what it was made, with nothing beside it? */
export function hasFilter(netlink: Netlink, index: number): boolean {
  const found = firstFilters(netlink, index);
  const each = found.filter(({ kind, handle }) => kind === 'fw' || handle !== 0);
  return each.length === 1 && each[0]!.isOurs;
}

/** One that was altered gives way. @throws Refusal EOPNOTSUPP where the kernel has nothing that can */
export function layFilter(netlink: Netlink, index: number, classifiers: readonly Classifier[]): void {
  if (hasFilter(netlink, index)) return;
  dropFilter(netlink, index);
  for (const kind of classifiers) {
    try {
      netlink.request(RTM_NEWTFILTER, FLAG.create | FLAG.exclusive, filterBody(index, kind));
      return;
    } catch (error) {
      // A kind that is not in the kernel (tcf_proto_lookup_ops in net/sched/cls_api.c).
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  const lacking = classifiers.map((kind) => NAMES[kind]).join(' nor ');
  const detail = `this kernel cannot take a mark as a class: it has no ${lacking}`;
  throw new Refusal('EOPNOTSUPP', detail, undefined);
}

/** Whatever is there in its place goes. */
export function dropFilter(netlink: Netlink, index: number): void {
  for (const { info } of firstFilters(netlink, index).slice(0, 1))
    netlink.request(RTM_DELTFILTER, 0, [trafficHeader({ index, parent: HANDLE, info })]);
}

/** The program as tc-bpf(8) takes it. */
export const bytecode = (): string => [PROGRAM.length, ...PROGRAM.map((each) => each.join(' '))].join(',');
