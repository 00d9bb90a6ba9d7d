import { attempt, call, libc } from '../../backends/linux/syscalls.ts';

// What floods and requests need of the kernel beside streams. Numbers are those of x86-64 and arm64, which agree (asm-generic).
const PR_SET_TIMERSLACK = 29;
export const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
/** include/uapi/linux/udp.h */
export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
const MSG_NOSIGNAL = 0x4000;
const POLLIN = 1;

const calls = {
  sched_setaffinity: libc.func('int sched_setaffinity(int pid, size_t bytes, const void *mask)'),
  prctl: libc.func('int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)'),
  ppoll: libc.func('int ppoll(void *fds, unsigned long count, const void *timeout, const void *signals)'),
  setsockopt: libc.func('int setsockopt(int fd, int level, int name, const void *value, uint length)'),
  send: libc.func('long send(int fd, const void *bytes, size_t length, int flags)'),
  recv: libc.func('long recv(int fd, void *bytes, size_t length, int flags)'),
};

/** Keeps the calling thread on one CPU. */
export function stayOn(cpu: number): void {
  const mask = Buffer.alloc(128);
  mask.writeUInt8(1 << (cpu % 8), Math.floor(cpu / 8));
  call(`sched_setaffinity to CPU ${cpu}`, () => calls.sched_setaffinity(0, mask.length, mask) as number);
}

/** Has the calling thread woken when it asked to be: Linux takes 50 us more unless told (prctl(2)). */
export const wakeInTime = (): number => call('prctl', () => calls.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0) as number);

/** Waits on one descriptor until something is to be read there, at most so long; a microsecond counts. @returns whether there is */
export function restOn(fd: number, restMs: number): boolean {
  // struct pollfd: int fd, short events, short revents; struct timespec: two longs.
  const table = Buffer.alloc(24);
  table.writeInt32LE(fd, 0);
  table.writeInt16LE(POLLIN, 4);
  const wholeSec = Math.floor(restMs / 1000);
  table.writeBigInt64LE(BigInt(wholeSec), 8);
  table.writeBigInt64LE(BigInt(Math.floor((restMs - wholeSec * 1000) * 1e6)), 16);
  return call('ppoll', () => calls.ppoll(table, 1, table.subarray(8), null) as number) > 0;
}

/** Sending and receiving of a socket that waits gives up after this. */
export function limitWaiting(fd: number, limitMs: number): void {
  const time = Buffer.alloc(16);
  time.writeBigInt64LE(BigInt(Math.floor(limitMs / 1000)), 0);
  time.writeBigInt64LE(BigInt((limitMs % 1000) * 1000), 8);
  for (const name of [SO_RCVTIMEO, SO_SNDTIMEO])
    call('setsockopt', () => calls.setsockopt(fd, SOL_SOCKET, name, time, time.length) as number);
}

/** Waits as long as the socket does. @returns how much of it went, or minus the error's number */
export const sendWaiting = (fd: number, bytes: Buffer): number =>
  attempt(() => calls.send(fd, bytes, bytes.length, MSG_NOSIGNAL) as number);

/** Waits as long as the socket does. @returns the length, 0 at the end of TCP, minus the error's number: EAGAIN where it waited in vain */
export const receiveWaiting = (fd: number, into: Buffer): number =>
  attempt(() => calls.recv(fd, into, into.length, 0) as number);
