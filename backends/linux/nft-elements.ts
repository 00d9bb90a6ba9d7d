import { closeSync } from 'node:fs';
import type { FirewallElement, FirewallFamily, FirewallField, FirewallSet } from '../../src/host/firewall.ts';
import { parseAddress } from '../../src/host/ipv4.ts';
import { LINK_NAME_LENGTH_MAX } from '../../src/host/links.ts';
import { Refusal } from './errors.ts';
import { setKey } from '../../src/host/firewall-check.ts';
import { TYPE_OF } from '../../src/host/firewall-values.ts';
import { attribute, FLAG, message, messages, nested, text } from './netlink-codec.ts';
import type { NetworkRoot } from './netns.ts';
import { TABLE } from './nft-text.ts';
import { AF_NETLINK, errnoName, openSocket, receiveBytes, refusalOf, sendBytes, SOCK_RAW } from './syscalls.ts';

// include/uapi/linux/netlink.h, netfilter/nfnetlink.h, netfilter/nf_tables.h, netfilter.h
const NETLINK_NETFILTER = 12;
const NLMSG_ERROR = 2;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFNL_BATCH_GENID = 1;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 12;
const NFT_MSG_DELSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 14;
const NFTA_SET_ELEM_LIST = { table: 1, set: 2, elements: 3 } as const;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM = { key: 1, data: 2 } as const;
const NFTA_DATA_VALUE = 1;
const NFPROTO: Readonly<Record<FirewallFamily, number>> = { inet: 1, bridge: 7 };
/** A part of a concatenation takes whole registers (NFT_REG32_SIZE). */
const REGISTER_BYTES = 4;

/** IANA's numbers of the words that elements are made of. */
const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, sctp: 132 };
const ETHER_TYPES: Readonly<Record<string, number>> = { ip: 0x0800, arp: 0x0806, ip6: 0x86dd };

/** From here on starting nft costs less than what it does; and so many answers fit in one buffer. */
const ELEMENTS_MAX = 64;
const ANSWERS_BYTES = 64 * 1024;

/** Elements that go and come, as the kernel takes them. */
export type ElementBatch = readonly { readonly type: number; readonly body: readonly Buffer[] }[];

/**
 * What `nft -f` would send for a few elements: starting nft takes 20 ms and more, this well under one. Null where it is
 * nft's business: many elements, prefixes, or values that no set of Plimsoll's is made of.
 */
export function elementBatch(
  gone: readonly FirewallElement[],
  come: readonly FirewallElement[],
  sets: ReadonlyMap<string, FirewallSet>,
): ElementBatch | null {
  if (gone.length + come.length > ELEMENTS_MAX) return null;
  const batch: { readonly type: number; readonly body: readonly Buffer[] }[] = [];
  for (const [type, elements] of [
    [NFT_MSG_DELSETELEM, gone],
    [NFT_MSG_NEWSETELEM, come],
  ] as const) {
    for (const element of elements) {
      const body = elementBody(
        element,
        sets.get(setKey({ ...element, name: element.set })),
        type === NFT_MSG_NEWSETELEM,
      );
      if (body === null) return null;
      batch.push({ type, body });
    }
  }
  return batch;
}

function elementBody(
  { family, set: name, key, value }: FirewallElement,
  set: FirewallSet | undefined,
  withValue: boolean,
): Buffer[] | null {
  if (set === undefined || set.intervals) return null;
  const encodedKey = concatenation(set.fields, key);
  const data = withValue && set.to !== undefined && value !== undefined ? concatenation(set.to, value) : undefined;
  if (encodedKey === null || data === null) return null;
  const element = nested(NFTA_LIST_ELEM, [
    nested(NFTA_SET_ELEM.key, [attribute(NFTA_DATA_VALUE, encodedKey)]),
    ...(data === undefined ? [] : [nested(NFTA_SET_ELEM.data, [attribute(NFTA_DATA_VALUE, data)])]),
  ]);
  return [
    header(NFPROTO[family], 0),
    text(NFTA_SET_ELEM_LIST.table, TABLE),
    text(NFTA_SET_ELEM_LIST.set, name),
    nested(NFTA_SET_ELEM_LIST.elements, [element]),
  ];
}

/** Sends it as one transaction on top of this generation. @throws Refusal EAGAIN where somebody else has changed something since */
export function sendElements(root: NetworkRoot, generation: number, batch: ElementBatch): void {
  const genid = Buffer.alloc(4);
  genid.writeUInt32BE(generation);
  const begin = [header(0, NFNL_SUBSYS_NFTABLES), attribute(NFNL_BATCH_GENID, genid)];
  const bytes = Buffer.concat([
    message(NFNL_MSG_BATCH_BEGIN, FLAG.request, 0, begin),
    ...batch.map(({ type, body }, index) => message(type, FLAG.request | FLAG.ack | FLAG.create, index + 1, body)),
    message(NFNL_MSG_BATCH_END, FLAG.request, batch.length + 1, [header(0, NFNL_SUBSYS_NFTABLES)]),
  ]);
  const socket = root.within('', () => openSocket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
  try {
    const sent = sendBytes(socket, bytes);
    if (sent < 0) throw refusalOf(-sent, 'nf_tables');
    insistDone(socket, batch.length);
  } finally {
    closeSync(socket);
  }
}

/** The kernel has answered every message when the sending returns. */
function insistDone(socket: number, wanted: number): void {
  const answer = Buffer.alloc(ANSWERS_BYTES);
  let done = 0;
  for (;;) {
    const length = receiveBytes(socket, answer);
    if (length < 0) {
      if (errnoName(-length) !== 'EAGAIN') throw refusalOf(-length, 'nf_tables');
      break;
    }
    for (const { type, body } of messages(answer.subarray(0, length))) {
      if (type !== NLMSG_ERROR) continue;
      const error = -body.readInt32LE();
      if (error === ERESTART) throw new Refusal('EAGAIN', 'nf_tables: somebody else came first', undefined);
      if (error !== 0) throw refusalOf(error, 'nf_tables');
      done += 1;
    }
  }
  if (done < wanted) throw new Refusal('EIO', `nf_tables: ${done} of ${wanted} changes were answered`, undefined);
}

/** include/linux/errno.h: the generation is another than the batch was made for. */
const ERESTART = 85;

/** struct nfgenmsg. */
function header(family: number, resource: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt8(family, 0);
  bytes.writeUInt16BE(resource, 2);
  return bytes;
}

function concatenation(fields: readonly FirewallField[], joined: string): Buffer | null {
  const parts = joined.split(' . ').map((part, index) => encoded(fields[index]!, part));
  if (!parts.every((part) => part !== null)) return null;
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts.map(wholeRegisters));
}

function wholeRegisters(part: Buffer): Buffer {
  const bytes = Buffer.alloc(Math.ceil(part.length / REGISTER_BYTES) * REGISTER_BYTES);
  part.copy(bytes);
  return bytes;
}

/** Null: of a type that no element has. */
function encoded(field: FirewallField, value: string): Buffer | null {
  switch (TYPE_OF[field]) {
    case 'ifname': {
      const bytes = Buffer.alloc(LINK_NAME_LENGTH_MAX + 1);
      bytes.write(value);
      return bytes;
    }
    case 'ether_addr':
      return Buffer.from(value.replaceAll(':', ''), 'hex');
    case 'ipv4_addr': {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(parseAddress(value));
      return bytes;
    }
    case 'inet_service':
      return sixteenBits(Number(value));
    case 'mark':
      // In the host's own order, as the packet has it (nft's type is of the host's byte order: mark_type, src/meta.c).
      return hostOrder(Number(value));
    case 'inet_proto':
      return PROTOCOLS[value] === undefined ? null : Buffer.from([PROTOCOLS[value]]);
    case 'ether_type':
      return ETHER_TYPES[value] === undefined ? null : sixteenBits(ETHER_TYPES[value]);
    case 'ct_state':
    case 'ct_status':
    case 'fib_addrtype':
      return null;
  }
}

function hostOrder(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function sixteenBits(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}
