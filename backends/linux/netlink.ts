import { closeSync } from 'node:fs';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { isAbsent, Refusal } from './errors.ts';
import { Attributes, FLAG, message, messages, type Received } from './netlink-codec.ts';
import type { NetworkRoot } from './netns.ts';
import {
  AF_NETLINK,
  errnoName,
  MSG_TRUNC,
  openSocket,
  receiveBytes,
  refusalOf,
  sendBytes,
  sendBytesAside,
  setOption,
  SOCK_RAW,
} from './syscalls.ts';

const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const EINTR = 4;

/** A dump that changes came into is asked for again; the kernel gives 32 KiB at a time. */
const DUMPS_MAX = 20;
const into = Buffer.alloc(256 * 1024);

/** Talks rtnetlink(7) to one network namespace: each request is answered before the next. */
export class Netlink {
  readonly #fd: number;
  #sequence = 0;

  /** Of the namespace that the calling thread is in; it stays so. */
  constructor() {
    this.#fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    setOption(this.#fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    setOption(this.#fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** @throws Refusal with the kernel's own words where it gives any */
  request(type: number, flags: number, body: readonly Buffer[]): void {
    this.#send(type, FLAG.request | FLAG.ack | flags, body);
    this.#acknowledged();
  }

  /** As `request`, the kernel's work being done on another thread. */
  async requestAside(type: number, body: readonly Buffer[]): Promise<void> {
    this.#sequence += 1;
    await sendBytesAside(this.#fd, message(type, FLAG.request | FLAG.ack, this.#sequence, body));
    this.#acknowledged();
  }

  /** Asks for one thing. @throws Refusal */
  get(type: number, body: readonly Buffer[], flags = 0): Buffer {
    this.#send(type, FLAG.request | flags, body);
    for (const received of this.#receive()) {
      if (received.type === NLMSG_ERROR) throw refusal(received);
      return Buffer.from(received.body);
    }
    throw new Refusal('EIO', 'the kernel gave no answer', undefined);
  }

  /** Asks for all of a kind. What `read` makes of each is kept; undefined leaves it out. */
  dump<T>(type: number, body: readonly Buffer[], read: (body: Buffer) => T | undefined): T[] {
    for (let attempt = 1; ; attempt += 1) {
      const found = this.#dumpOnce(type, body, read);
      if (found !== null) return found;
      if (attempt === DUMPS_MAX) throw new Refusal('EAGAIN', 'it changes faster than it can be read', undefined);
    }
  }

  /** Null where something changed meanwhile, so that something may be missing. */
  #dumpOnce<T>(type: number, body: readonly Buffer[], read: (body: Buffer) => T | undefined): T[] | null {
    const found: T[] = [];
    let isWhole = true;
    this.#send(type, FLAG.request | FLAG.root | FLAG.match, body);
    for (;;) {
      for (const received of this.#receive()) {
        if ((received.flags & NLM_F_DUMP_INTR) !== 0) isWhole = false;
        if (received.type === NLMSG_DONE) {
          // Its body is the error that ended the dump, if one did.
          const result = received.body.length < 4 ? 0 : received.body.readInt32LE();
          if (result === -EINTR) return null;
          if (result < 0) throw refusalOf(-result, 'dump');
          return isWhole ? found : null;
        }
        if (received.type === NLMSG_ERROR) throw refusal(received);
        const one = read(received.body);
        if (one !== undefined) found.push(one);
      }
    }
  }

  #send(type: number, flags: number, body: readonly Buffer[]): void {
    this.#sequence += 1;
    const sent = sendBytes(this.#fd, message(type, flags, this.#sequence, body));
    if (sent < 0) throw refusalOf(-sent, 'send');
  }

  #acknowledged(): void {
    for (const received of this.#receive())
      if (received.type === NLMSG_ERROR && received.body.readInt32LE() !== 0) throw refusal(received);
  }

  /** The kernel has answered when the sending returns. */
  #receive(): Received[] {
    const length = receiveBytes(this.#fd, into, MSG_TRUNC);
    if (length < 0) throw refusalOf(-length, 'receive');
    if (length > into.length) throw new Refusal('EIO', `an answer of ${length} bytes is too long`, undefined);
    return [...messages(into.subarray(0, length))].filter(({ sequence }) => sequence === this.#sequence);
  }
}

/** struct nlmsgerr: the error, the header of the request, the request unless capped, then what the kernel says to it. */
function refusal({ body, flags }: Received): Refusal {
  const number = -body.readInt32LE();
  const echoed = (flags & NLM_F_CAPPED) === 0 ? body.readUInt32LE(4) : 16;
  const said =
    (flags & NLM_F_ACK_TLVS) === 0 ? undefined : new Attributes(body, 4 + ((echoed + 3) & ~3)).text(NLMSGERR_ATTR_MSG);
  return said === undefined || said === ''
    ? refusalOf(number, 'the kernel refuses')
    : new Refusal(errnoName(number) ?? 'EIO', said, undefined);
}

/** Sockets into the namespaces of one call: the host's own stays open, of the others the last. */
export class Conversations {
  readonly #root: NetworkRoot;
  #host: Netlink | undefined;
  #other: { readonly namespace: NamespaceName; readonly netlink: Netlink } | undefined;

  constructor(root: NetworkRoot) {
    this.#root = root;
  }

  /** @throws Refusal ENODEV where there is no such namespace */
  with(namespace: NamespaceName): Netlink {
    if (namespace === '') return (this.#host ??= this.#root.within('', () => new Netlink()));
    if (this.#other?.namespace !== namespace) {
      this.#other?.netlink.close();
      this.#other = undefined;
      this.#other = { namespace, netlink: this.#root.within(namespace, () => new Netlink()) };
    }
    return this.#other.netlink;
  }

  /** Null where there is no such namespace. */
  ifThere(namespace: NamespaceName): Netlink | null {
    try {
      return this.with(namespace);
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  close(): void {
    this.#host?.close();
    this.#other?.netlink.close();
  }
}
