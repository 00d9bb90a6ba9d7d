import { closeSync } from 'node:fs';
import type { FirewallFamily } from '../../src/host/firewall.ts';
import { Refusal } from './errors.ts';
import type { NetworkRoot } from './netns.ts';
import { AF_NETLINK, openSocket, receiveBytes, refusalOf, sendBytes, SOCK_RAW } from './syscalls.ts';

/** include/uapi/linux/netlink.h */
const NETLINK_NETFILTER = 12;
const NLM_F_REQUEST = 1;
const NLMSG_ERROR = 2;
const HEADER_BYTES = 16;

/** include/uapi/linux/netfilter/nfnetlink.h: a message's type is its subsystem and its own number. */
const NFNL_SUBSYS_NFTABLES = 10 << 8;
const NFGENMSG_BYTES = 4;

/** include/uapi/linux/netfilter/nf_tables.h */
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_GETCHAIN = 4;
const NFT_MSG_GETGEN = 16;
const NFTA_TABLE_NAME = 1;
const NFTA_TABLE_FLAGS = 2;
const NFTA_CHAIN_TABLE = 1;
const NFTA_CHAIN_NAME = 3;
const NFTA_GEN_ID = 1;

/** include/uapi/linux/netfilter.h */
const NFPROTO: Readonly<Record<FirewallFamily | 'ip', number>> = { inet: 1, ip: 2, bridge: 7 };

const ENOENT = 2;
/** linux/rtnetlink answers fit in a page, and so do these. */
const ANSWER_BYTES = 4096;

/**
 * The generation of the namespace's rules: one more with every transaction of anybody's that changed something
 * (nf_tables_commit, net/netfilter/nf_tables_api.c). What was listed at one generation is there as long as it stays.
 * @throws Refusal where the kernel has no nf_tables
 */
export function nftGeneration(root: NetworkRoot): number {
  const answer = ask(root, NFT_MSG_GETGEN, 0, Buffer.alloc(0));
  if (typeof answer === 'number') throw refusalOf(answer, 'nf_tables');
  return attribute(answer, NFTA_GEN_ID)!.readUInt32BE(0);
}

/** The flags of a table; null where it is not there. @throws Refusal where the kernel has no nf_tables */
export function nftTableFlags(root: NetworkRoot, family: FirewallFamily, name: string): number | null {
  const answer = ask(root, NFT_MSG_GETTABLE, NFPROTO[family], textAttribute(NFTA_TABLE_NAME, name));
  if (answer === ENOENT) return null;
  if (typeof answer === 'number') throw refusalOf(answer, 'nf_tables');
  return attribute(answer, NFTA_TABLE_FLAGS)?.readUInt32BE(0) ?? 0;
}

/** Is there this chain of iptables (the variant that keeps its rules in nf_tables)? @throws Refusal where the kernel has no nf_tables */
export function hasIptablesChain(root: NetworkRoot, table: string, chain: string): boolean {
  const name = Buffer.concat([textAttribute(NFTA_CHAIN_TABLE, table), textAttribute(NFTA_CHAIN_NAME, chain)]);
  const answer = ask(root, NFT_MSG_GETCHAIN, NFPROTO.ip, name);
  if (typeof answer !== 'number') return true;
  if (answer === ENOENT) return false;
  throw refusalOf(answer, 'nf_tables');
}

/** The attributes of the kernel's answer, or the number of its error. A socket belongs to the namespace it was opened in. */
function ask(root: NetworkRoot, message: number, family: number, attributes: Buffer): Buffer | number {
  const request = Buffer.alloc(HEADER_BYTES + NFGENMSG_BYTES + attributes.length);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt16LE(NFNL_SUBSYS_NFTABLES | message, 4);
  request.writeUInt16LE(NLM_F_REQUEST, 6);
  request.writeUInt8(family, HEADER_BYTES);
  attributes.copy(request, HEADER_BYTES + NFGENMSG_BYTES);
  const socket = root.within('', () => openSocket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
  try {
    const sent = sendBytes(socket, request);
    if (sent < 0) return -sent;
    const answer = Buffer.alloc(ANSWER_BYTES);
    // The kernel answers a netlink request before send(2) returns.
    const length = receiveBytes(socket, answer);
    if (length < 0) return -length;
    if (length < HEADER_BYTES + NFGENMSG_BYTES)
      throw new Refusal('EIO', 'nf_tables: its answer is cut short', undefined);
    if (answer.readUInt16LE(4) === NLMSG_ERROR) return -answer.readInt32LE(HEADER_BYTES);
    return answer.subarray(HEADER_BYTES + NFGENMSG_BYTES, answer.readUInt32LE(0));
  } finally {
    closeSync(socket);
  }
}

/** struct nlattr: length, type, then the value, padded to four bytes. */
function textAttribute(type: number, text: string): Buffer {
  const value = Buffer.from(`${text}\0`);
  const bytes = Buffer.alloc(4 + ((value.length + 3) & ~3));
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  value.copy(bytes, 4);
  return bytes;
}

function attribute(attributes: Buffer, wanted: number): Buffer | undefined {
  for (let at = 0; at + 4 <= attributes.length;) {
    const length = attributes.readUInt16LE(at);
    if (length < 4) return undefined;
    if (attributes.readUInt16LE(at + 2) === wanted) return attributes.subarray(at + 4, at + length);
    at += (length + 3) & ~3;
  }
  return undefined;
}
