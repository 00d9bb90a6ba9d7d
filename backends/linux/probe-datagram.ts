import { randomBytes } from 'node:crypto';
import { formatAddress, type Ipv4Address, parseAddress } from '../../src/host/ipv4.ts';

// A probe: `plmP`, the token, the address it is sent to, the length of the sender's name and the name, then zeros.
// Its answer: `plmA`, the token, the address it was seen from, the length of the answerer's name and the name.
const ASK = 'plmP';
const ANSWER = 'plmA';
const TOKEN_BYTES = 8;
const NAME_AT = 4 + TOKEN_BYTES + 4;

/** What is sent unless more is asked for; a long name of the sender makes it longer. */
const PAYLOAD_BYTES_MIN = 64;

/** A probe as it travels. */
export interface Asked {
  readonly token: string;
  readonly sentTo: Ipv4Address;
  readonly sentBy: string;
}

/** Its answer. */
export interface Answered {
  readonly token: string;
  readonly seenFrom: Ipv4Address;
  readonly by: string;
}

export const newToken = (): string => randomBytes(TOKEN_BYTES).toString('hex');

export const askBytes = ({ token, sentTo, sentBy }: Asked, payloadBytes = PAYLOAD_BYTES_MIN): Buffer =>
  layOut(ASK, token, sentTo, sentBy, Math.max(payloadBytes, PAYLOAD_BYTES_MIN));

export const answerBytes = ({ token, seenFrom, by }: Answered): Buffer => layOut(ANSWER, token, seenFrom, by, 0);

/** Null where it is no probe. */
export function readAsked(bytes: Buffer): Asked | null {
  const parts = takeApart(ASK, bytes);
  return parts && { token: parts.token, sentTo: parts.address, sentBy: parts.name };
}

/** Null where it is no answer. */
export function readAnswered(bytes: Buffer): Answered | null {
  const parts = takeApart(ANSWER, bytes);
  return parts && { token: parts.token, seenFrom: parts.address, by: parts.name };
}

function layOut(word: string, token: string, address: Ipv4Address, name: string, lengthMin: number): Buffer {
  const nameBytes = Buffer.from(name).subarray(0, 255);
  const bytes = Buffer.alloc(Math.max(lengthMin, NAME_AT + 1 + nameBytes.length));
  bytes.write(word, 'latin1');
  bytes.write(token, 4, 'hex');
  bytes.writeUInt32BE(parseAddress(address), 4 + TOKEN_BYTES);
  bytes.writeUInt8(nameBytes.length, NAME_AT);
  nameBytes.copy(bytes, NAME_AT + 1);
  return bytes;
}

function takeApart(
  word: string,
  bytes: Buffer,
): { readonly token: string; readonly address: Ipv4Address; readonly name: string } | null {
  if (bytes.length <= NAME_AT || bytes.toString('latin1', 0, 4) !== word) return null;
  return {
    token: bytes.toString('hex', 4, 4 + TOKEN_BYTES),
    address: formatAddress(bytes.readUInt32BE(4 + TOKEN_BYTES)),
    name: bytes.toString('utf8', NAME_AT + 1, NAME_AT + 1 + bytes.readUInt8(NAME_AT)),
  };
}

const ICMP_ECHO = 8;
const ICMP_ECHO_REPLY = 0;
const ICMP_HEADER_BYTES = 8;
const IP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const IPPROTO_UDP = 17;
export const IPPROTO_ICMP = 1;
const DONT_FRAGMENT = 0x4000;

/** An echo request; its payload is a probe, which the answer brings back. */
export function echoRequest(payload: Buffer): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(ICMP_HEADER_BYTES), payload]);
  bytes.writeUInt8(ICMP_ECHO, 0);
  bytes.writeUInt16BE(checksum(bytes), 2);
  return bytes;
}

/** What of a packet from a raw ICMP socket answers an echo request: what that had brought. Null where it is something else. */
export function echoReply(packet: Buffer): Asked | null {
  const headerBytes = (packet.readUInt8(0) & 15) * 4;
  if (packet.length < headerBytes + ICMP_HEADER_BYTES || packet.readUInt8(headerBytes) !== ICMP_ECHO_REPLY) return null;
  return readAsked(packet.subarray(headerBytes + ICMP_HEADER_BYTES));
}

/** A whole IPv4 packet, for a source that is not the sender's own; the kernel fills in lengths and the header's checksum (raw(7)). */
export function forgedPacket(
  {
    protocol,
    source,
    to,
    port,
  }: { readonly protocol: 'udp' | 'icmp'; readonly source: number; readonly to: number; readonly port: number },
  payload: Buffer,
): Buffer {
  const inner = protocol === 'icmp' ? echoRequest(payload) : Buffer.concat([udpHeader(port, payload.length), payload]);
  const header = Buffer.alloc(IP_HEADER_BYTES);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(IP_HEADER_BYTES + inner.length, 2);
  header.writeUInt16BE(DONT_FRAGMENT, 6);
  header.writeUInt8(64, 8);
  header.writeUInt8(protocol === 'icmp' ? IPPROTO_ICMP : IPPROTO_UDP, 9);
  header.writeUInt32BE(source, 12);
  header.writeUInt32BE(to, 16);
  return Buffer.concat([header, inner]);
}

/** Without a checksum, which IPv4 leaves to the sender. The port it comes from matters to nobody: no answer can come. */
function udpHeader(port: number, payloadBytes: number): Buffer {
  const bytes = Buffer.alloc(UDP_HEADER_BYTES);
  bytes.writeUInt16BE(port, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt16BE(UDP_HEADER_BYTES + payloadBytes, 4);
  return bytes;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2)
    sum += at + 1 < bytes.length ? bytes.readUInt16BE(at) : bytes.readUInt8(at) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
