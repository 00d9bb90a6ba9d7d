import { Refusal } from './errors.ts';

// Netlink's wire form (netlink(7), include/uapi/linux/netlink.h): native byte order, which is little-endian on x86-64
// and arm64; everything is padded to 4 bytes.

const HEADER_BYTES = 16;
const ATTRIBUTE_BYTES = 4;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

const padded = (length: number): number => (length + 3) & ~3;

/** The flags of a request. */
export const FLAG = {
  request: 1,
  ack: 4,
  echo: 8,
  root: 0x100,
  match: 0x200,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
};

/** An attribute: a length, a type, and bytes. */
export function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(padded(ATTRIBUTE_BYTES + value.length));
  bytes.writeUInt16LE(ATTRIBUTE_BYTES + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  value.copy(bytes, ATTRIBUTE_BYTES);
  return bytes;
}

export const nested = (type: number, parts: readonly Buffer[]): Buffer =>
  attribute(type | NLA_F_NESTED, Buffer.concat(parts));

export const u8 = (type: number, value: number): Buffer => attribute(type, Buffer.from([value]));

export function u16be(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return attribute(type, bytes);
}

export function u32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return attribute(type, bytes);
}

/** An IPv4 address, given as a number. */
export function ipv4(type: number, address: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(address);
  return attribute(type, bytes);
}

export const text = (type: number, value: string): Buffer => attribute(type, Buffer.from(`${value}\0`));

/** @throws Refusal EINVAL: bytes of another length would be taken for another address */
export function mac(type: number, value: string): Buffer {
  if (!/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i.test(value))
    throw new Refusal('EINVAL', `"${value}" is no MAC address: write one like 02:70:6c:00:00:01`, undefined);
  return attribute(type, Buffer.from(value.replaceAll(':', ''), 'hex'));
}

/** A whole message. */
export function message(type: number, flags: number, sequence: number, body: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(HEADER_BYTES), ...body]);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence, 8);
  return bytes;
}

/** A message as it was received. */
export interface Received {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Buffer;
}

/** The messages of one datagram. */
export function* messages(bytes: Buffer): Generator<Received> {
  for (let at = 0; at + HEADER_BYTES <= bytes.length;) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > bytes.length) return;
    yield {
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      body: bytes.subarray(at + HEADER_BYTES, at + length),
    };
    at += padded(length);
  }
}

/** The attributes from an offset on, in their order: of a list all are of one type. */
export function* attributesIn(bytes: Buffer, offset = 0): Generator<{ readonly type: number; readonly value: Buffer }> {
  for (let at = offset; at + ATTRIBUTE_BYTES <= bytes.length;) {
    const length = bytes.readUInt16LE(at);
    if (length < ATTRIBUTE_BYTES || at + length > bytes.length) return;
    yield {
      type: bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK,
      value: bytes.subarray(at + ATTRIBUTE_BYTES, at + length),
    };
    at += padded(length);
  }
}

/** The attributes from an offset on, by type. */
export class Attributes {
  readonly #byType = new Map<number, Buffer>();

  constructor(bytes: Buffer, offset = 0) {
    for (const { type, value } of attributesIn(bytes, offset)) this.#byType.set(type, value);
  }

  has(type: number): boolean {
    return this.#byType.has(type);
  }

  bytes(type: number): Buffer | undefined {
    return this.#byType.get(type);
  }

  u8(type: number): number | undefined {
    return this.#byType.get(type)?.readUInt8();
  }

  u16be(type: number): number | undefined {
    return this.#byType.get(type)?.readUInt16BE();
  }

  u32(type: number): number | undefined {
    return this.#byType.get(type)?.readUInt32LE();
  }

  ipv4(type: number): number | undefined {
    return this.#byType.get(type)?.readUInt32BE();
  }

  text(type: number): string | undefined {
    const bytes = this.#byType.get(type);
    return bytes?.toString('utf8', 0, bytes.at(-1) === 0 ? bytes.length - 1 : bytes.length);
  }

  mac(type: number): string | undefined {
    return this.#byType.get(type)?.toString('hex').match(/../g)?.join(':');
  }

  nested(type: number): Attributes | undefined {
    const bytes = this.#byType.get(type);
    return bytes === undefined ? undefined : new Attributes(bytes);
  }
}
