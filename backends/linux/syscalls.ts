import koffi from 'koffi';
import { constants } from 'node:os';
import { type Errno, isErrno } from '../../src/host/errors.ts';
import { Refusal } from './errors.ts';

// What Node itself does not offer. Numbers are those of x86-64 and arm64, which agree (asm-generic).
export const libc = koffi.load(null);

const CLONE_NEWNET = 0x4000_0000;
export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_SHARED = 1 << 20;
const MNT_DETACH = 2;
export const AF_INET = 2;
export const AF_NETLINK = 16;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2_000_000;
const SOCK_NONBLOCK = 0o4_000;
const MSG_DONTWAIT = 0x40;
/** recv tells the whole length of a datagram, of which it may have copied less. */
export const MSG_TRUNC = 0x20;
const EINTR = 4;

const calls = {
  setns: libc.func('int setns(int fd, int kind)'),
  unshare: libc.func('int unshare(int flags)'),
  mount: libc.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, void *data)',
  ),
  umount2: libc.func('int umount2(const char *target, int flags)'),
  socket: libc.func('int socket(int family, int type, int protocol)'),
  bind: libc.func('int bind(int fd, const void *address, uint length)'),
  connect: libc.func('int connect(int fd, const void *address, uint length)'),
  setsockopt: libc.func('int setsockopt(int fd, int level, int name, const void *value, uint length)'),
  send: libc.func('long send(int fd, const void *bytes, size_t length, int flags)'),
  sendto: libc.func(
    'long sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint addressLength)',
  ),
  recv: libc.func('long recv(int fd, void *bytes, size_t length, int flags)'),
  recvmsg: libc.func('long recvmsg(int fd, void *message, int flags)'),
  sendmsg: libc.func('long sendmsg(int fd, const void *message, int flags)'),
  poll: libc.func('int poll(void *fds, unsigned long count, int timeoutMs)'),
};

/** Of several names of one number (EAGAIN and EWOULDBLOCK) the last given counts: the one that the port speaks. */
const NAMES = new Map<number, string>([
  ...Object.entries(constants.errno)
    .toSorted(([a], [b]) => Number(isErrno(a)) - Number(isErrno(b)))
    .map(([name, number]): [number, string] => [number, name]),
  // include/uapi/asm-generic/errno.h; Node does not name it.
  [54, 'EXFULL'],
  // EPROTONOSUPPORT (802.1ad of a card that knows only 802.1Q): to the port it is all one what is not supported.
  [93, 'EOPNOTSUPP'],
]);

/** The name of an error number, if it is one that the port speaks. */
export const errnoName = (number: number): Errno | undefined => {
  const name = NAMES.get(number);
  return isErrno(name) ? name : undefined;
};

/** What a system call refused. */
export const refusalOf = (number: number, what: string): Refusal =>
  new Refusal(errnoName(number) ?? 'EIO', `${what}: ${NAMES.get(number) ?? `error ${number}`}`, undefined);

/** Calls again what a signal interrupted. @throws Refusal */
export function call(what: string, act: () => number): number {
  for (;;) {
    const result = act();
    if (result >= 0) return result;
    const number = koffi.errno();
    if (number !== EINTR) throw refusalOf(number, what);
  }
}

/** As `call`, but a refusal is an answer: minus the error's number. */
export function attempt(act: () => number): number {
  for (;;) {
    const result = act();
    if (result >= 0) return result;
    const number = koffi.errno();
    if (number !== EINTR) return -number;
  }
}

/** Puts the calling thread into the network namespace of this file. */
export const setNetworkNamespace = (fd: number): number => call('setns', () => calls.setns(fd, CLONE_NEWNET) as number);

/** Puts the calling thread into a network namespace of its own. */
export const newNetworkNamespace = (): number => call('unshare', () => calls.unshare(CLONE_NEWNET) as number);

export const mount = (source: string, target: string, flags: number): number =>
  call(`mount ${target}`, () => calls.mount(source, target, 'none', flags, null) as number);

export const unmount = (target: string): number =>
  call(`umount ${target}`, () => calls.umount2(target, MNT_DETACH) as number);

export const openSocket = (family: number, type: number, protocol: number, isBlocking = false): number =>
  call(
    'socket',
    () => calls.socket(family, type | SOCK_CLOEXEC | (isBlocking ? 0 : SOCK_NONBLOCK), protocol) as number,
  );

export const bindSocket = (fd: number, address: Buffer): number =>
  call('bind', () => calls.bind(fd, address, address.length) as number);

export const setOption = (fd: number, level: number, name: number, value: number): number => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return call('setsockopt', () => calls.setsockopt(fd, level, name, bytes, 4) as number);
};

/** @returns minus the error's number where it was refused */
export const connectSocket = (fd: number, address: Buffer): number =>
  attempt(() => calls.connect(fd, address, address.length) as number);

/** @returns minus the error's number where it was refused */
export const sendBytes = (fd: number, bytes: Buffer): number =>
  attempt(() => calls.send(fd, bytes, bytes.length, 0) as number);

/** @returns minus the error's number where it was refused */
export const sendBytesTo = (fd: number, bytes: Buffer, address: Buffer): number =>
  attempt(() => calls.sendto(fd, bytes, bytes.length, 0, address, address.length) as number);

/** As `sendBytes`, on another thread: for what the kernel takes its time over. */
export const sendBytesAside = (fd: number, bytes: Buffer): Promise<number> =>
  new Promise((resolve, reject) => {
    calls.send.async(fd, bytes, bytes.length, 0, (error: unknown, result: number) => {
      if (error instanceof Error) reject(error);
      else resolve(result);
    });
  });

/** Never waits. @returns the length, or minus the error's number: EAGAIN where nothing is there */
export const receiveBytes = (fd: number, into: Buffer, flags = 0): number =>
  attempt(() => calls.recv(fd, into, into.length, flags | MSG_DONTWAIT) as number);

/** Which of these sockets can be read now? */
export function readable(fds: readonly number[]): number[] {
  // struct pollfd: int fd, short events, short revents.
  const table = Buffer.alloc(fds.length * 8);
  for (const [index, fd] of fds.entries()) {
    table.writeInt32LE(fd, index * 8);
    table.writeInt16LE(1, index * 8 + 4);
  }
  if (call('poll', () => calls.poll(table, fds.length, 0) as number) === 0) return [];
  return fds.filter((_, index) => table.readInt16LE(index * 8 + 6) !== 0);
}

/** struct sockaddr_in. */
export function socketAddress(address: number, port: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt32BE(address, 4);
  return bytes;
}

/** A datagram with the local address that it came to, or is to go out from. */
export interface Envelope {
  readonly remote: Buffer;
  /** As a number. */
  readonly local: number;
  readonly bytes: Buffer;
}

const IPPROTO_IP = 0;
const IP_PKTINFO = 8;
const CONTROL_BYTES = 28;
const PAYLOAD_BYTES = 65_535;
/** One block of memory that does not move: struct msghdr (56), iovec (16), sockaddr_in (16), cmsghdr and in_pktinfo (28), payload. */
const AT = { message: 0, vector: 56, remote: 72, control: 88, payload: 128 };
const block = koffi.alloc('uint8_t', AT.payload + PAYLOAD_BYTES);
const start = koffi.address(block);
const memory = Buffer.from(koffi.view(block, AT.payload + PAYLOAD_BYTES));

function layMessage(payloadBytes: number): void {
  memory.fill(0, 0, AT.payload);
  memory.writeBigUInt64LE(start + BigInt(AT.remote), 0);
  memory.writeUInt32LE(16, 8);
  memory.writeBigUInt64LE(start + BigInt(AT.vector), 16);
  memory.writeBigUInt64LE(1n, 24);
  memory.writeBigUInt64LE(start + BigInt(AT.control), 32);
  // CMSG_SPACE of in_pktinfo, 12 bytes, after a header of 16: rounded up to 8.
  memory.writeBigUInt64LE(32n, 40);
  memory.writeBigUInt64LE(start + BigInt(AT.payload), AT.vector);
  memory.writeBigUInt64LE(BigInt(payloadBytes), AT.vector + 8);
}

/** A socket that tells where its datagrams were sent to. */
export const tellLocalAddress = (fd: number): number => setOption(fd, IPPROTO_IP, IP_PKTINFO, 1);

/** The next datagram; null where there is none. */
export function receiveEnvelope(fd: number): Envelope | null {
  layMessage(PAYLOAD_BYTES);
  const length = attempt(() => calls.recvmsg(fd, block, MSG_DONTWAIT) as number);
  if (length < 0) return null;
  return {
    remote: Buffer.from(memory.subarray(AT.remote, AT.remote + 16)),
    // in_pktinfo: int ifindex, spec_dst, addr: the one in the header is the last.
    local: memory.readUInt32BE(AT.control + 24),
    bytes: Buffer.from(memory.subarray(AT.payload, AT.payload + length)),
  };
}

/** Sends from the local address. @returns minus the error's number where it was refused */
export function sendEnvelope(fd: number, { remote, local, bytes }: Envelope): number {
  layMessage(bytes.length);
  remote.copy(memory, AT.remote);
  bytes.copy(memory, AT.payload);
  memory.writeBigUInt64LE(BigInt(CONTROL_BYTES), AT.control);
  memory.writeInt32LE(IPPROTO_IP, AT.control + 8);
  memory.writeInt32LE(IP_PKTINFO, AT.control + 12);
  memory.writeUInt32BE(local, AT.control + 20);
  return attempt(() => calls.sendmsg(fd, block, 0) as number);
}
