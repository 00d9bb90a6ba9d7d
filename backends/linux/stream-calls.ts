import koffi from 'koffi';
import { attempt, call, libc } from './syscalls.ts';

// What streams need of the kernel, many packets a call. Numbers are those of x86-64 and arm64, which agree (asm-generic).
const MSG_DONTWAIT = 0x40;
/** Of a datagram its whole length is told; of TCP (tcp(7)) the bytes are thrown away unread. */
const MSG_TRUNC = 0x20;
const MSG_NOSIGNAL = 0x4000;
const SOCK_CLOEXEC = 0o2_000_000;
const SOCK_NONBLOCK = 0o4_000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_MEMINFO = 55;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;

const calls = {
  listen: libc.func('int listen(int fd, int backlog)'),
  accept4: libc.func('int accept4(int fd, void *address, void *length, int flags)'),
  getsockopt: libc.func('int getsockopt(int fd, int level, int name, void *value, void *length)'),
  sendmmsg: libc.func('int sendmmsg(int fd, void *messages, uint count, int flags)'),
  recvmmsg: libc.func('int recvmmsg(int fd, void *messages, uint count, int flags, void *timeout)'),
  recv: libc.func('long recv(int fd, void *bytes, size_t length, int flags)'),
  send: libc.func('long send(int fd, const void *bytes, size_t length, int flags)'),
  poll: libc.func('int poll(void *fds, unsigned long count, int timeoutMs)'),
};

/** Nothing is there, or no room is (include/uapi/asm-generic/errno-base.h). */
export const EAGAIN = 11;

/** As many datagrams a call. More of them gain nothing. */
export const DATAGRAMS_A_CALL = 64;

/** struct mmsghdr: a msghdr (56), unsigned int msg_len, padding. */
const MMSGHDR_BYTES = 64;
const MSG_LEN_AT = 56;
/** struct iovec: address and length. */
const IOVEC_BYTES = 16;
const VECTORS_AT = DATAGRAMS_A_CALL * MMSGHDR_BYTES;
const PAYLOADS_AT = VECTORS_AT + DATAGRAMS_A_CALL * IOVEC_BYTES;

/** struct sockaddr_in. */
const NAME_BYTES = 16;

/** A batch of messages, each with a payload of its own as any real sender's have, in one block of memory that does not move. */
class Messages {
  readonly block: unknown;
  readonly memory: Buffer;

  constructor(payloadBytes: number, to?: Buffer) {
    const bytes = PAYLOADS_AT + DATAGRAMS_A_CALL * payloadBytes + NAME_BYTES;
    this.block = koffi.alloc('uint8_t', bytes);
    this.memory = Buffer.from(koffi.view(this.block, bytes)).fill(0);
    const start = koffi.address(this.block);
    for (let index = 0; index < DATAGRAMS_A_CALL; index++) {
      if (to !== undefined) {
        this.memory.writeBigUInt64LE(start + BigInt(bytes - NAME_BYTES), index * MMSGHDR_BYTES);
        this.memory.writeUInt32LE(NAME_BYTES, index * MMSGHDR_BYTES + 8);
      }
      const vectorAt = VECTORS_AT + index * IOVEC_BYTES;
      this.memory.writeBigUInt64LE(start + BigInt(vectorAt), index * MMSGHDR_BYTES + 16);
      this.memory.writeBigUInt64LE(1n, index * MMSGHDR_BYTES + 24);
      this.memory.writeBigUInt64LE(start + BigInt(PAYLOADS_AT + index * payloadBytes), vectorAt);
      this.memory.writeBigUInt64LE(BigInt(payloadBytes), vectorAt + 8);
    }
    to?.copy(this.memory, bytes - NAME_BYTES);
  }
}

/** Datagrams of one size, to be sent by a connected socket, or each with the address that it goes to. */
export class Datagrams {
  readonly #messages: Messages;

  /** @param to a `socketAddress`; of a connected socket none is needed */
  constructor(payloadBytes: number, to?: Buffer) {
    this.#messages = new Messages(payloadBytes, to);
  }

  /** Never waits. @returns how many went out, at most DATAGRAMS_A_CALL, or minus the error's number */
  send(fd: number, count: number): number {
    return attempt(() => calls.sendmmsg(fd, this.#messages.block, count, MSG_DONTWAIT) as number);
  }
}

/** What was read of a socket at once. */
export interface Drained {
  readonly datagrams: number;
  readonly bytes: number;
}

const incoming = new Messages(1);

/** Reads all datagrams that are there, their lengths alone. */
export function drainDatagrams(fd: number): Drained {
  let datagrams = 0;
  let bytes = 0;
  for (;;) {
    const count = attempt(
      () => calls.recvmmsg(fd, incoming.block, DATAGRAMS_A_CALL, MSG_DONTWAIT | MSG_TRUNC, null) as number,
    );
    for (let index = 0; index < count; index++)
      bytes += incoming.memory.readUInt32LE(index * MMSGHDR_BYTES + MSG_LEN_AT);
    if (count > 0) datagrams += count;
    // Less than was room for: there was no more.
    if (count < DATAGRAMS_A_CALL) return { datagrams, bytes };
  }
}

export const listenOn = (fd: number): number => call('listen', () => calls.listen(fd, 128) as number);

/** @returns minus the error's number where nobody came */
export const acceptFrom = (fd: number): number =>
  attempt(() => calls.accept4(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK) as number);

/** Throws away what TCP has received. @returns how much; 0 at the end; minus the error's number */
export const discardBytes = (fd: number, most: number): number =>
  attempt(() => calls.recv(fd, null, most, MSG_DONTWAIT | MSG_TRUNC) as number);

/** Never waits. @returns how much of it TCP took, or minus the error's number */
export const offerBytes = (fd: number, bytes: Buffer): number =>
  attempt(() => calls.send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL) as number);

function readOption(fd: number, level: number, name: number, bytes: number): Buffer {
  const value = Buffer.alloc(bytes);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes);
  call('getsockopt', () => calls.getsockopt(fd, level, name, value, length) as number);
  return value;
}

/** The number of the error that a socket met with since it was last asked; 0: none. */
export const errorOf = (fd: number): number => readOption(fd, SOL_SOCKET, SO_ERROR, 4).readInt32LE();

/** How many datagrams found no room in the socket: SK_MEMINFO_DROPS, the last of nine (include/uapi/linux/sock_diag.h). */
export const droppedBy = (fd: number): number => readOption(fd, SOL_SOCKET, SO_MEMINFO, 36).readUInt32LE(32);

/** What came in by a TCP connection: segments with data, and how large those are that are full (struct tcp_info, include/uapi/linux/tcp.h). */
export function segmentsOf(fd: number): { readonly segments: number; readonly segmentBytes: number } {
  const info = readOption(fd, IPPROTO_TCP, TCP_INFO, 160);
  return { segments: info.readUInt32LE(152), segmentBytes: info.readUInt32LE(20) };
}

/** What to wait for on a file descriptor. */
export interface Awaited {
  readonly fd: number;
  readonly to: 'read' | 'write';
}

const POLLIN = 1;
const POLLOUT = 4;

/** Waits until one of them is ready, or has failed, at most so long. @returns those that are */
export function waitFor(awaited: readonly Awaited[], timeoutMs: number): ReadonlySet<number> {
  // struct pollfd: int fd, short events, short revents.
  const table = Buffer.alloc(awaited.length * 8);
  for (const [index, { fd, to }] of awaited.entries()) {
    table.writeInt32LE(fd, index * 8);
    table.writeInt16LE(to === 'read' ? POLLIN : POLLOUT, index * 8 + 4);
  }
  call('poll', () => calls.poll(table, awaited.length, Math.ceil(timeoutMs)) as number);
  return new Set(awaited.filter((_, index) => table.readInt16LE(index * 8 + 6) !== 0).map(({ fd }) => fd));
}
