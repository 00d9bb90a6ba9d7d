import koffi from 'koffi';
import { closeSync } from 'node:fs';
import { AF_INET, libc, openSocket, SOCK_DGRAM } from './syscalls.ts';

// include/uapi/linux/sockios.h and ethtool.h.
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GSET = 1;
/** struct ifreq (40 bytes: the name, then a pointer) and behind it struct ethtool_cmd (44): speed at 12, its upper half at 28. */
const AT = { pointer: 16, command: 40, speed: 52, speedHigh: 68 } as const;
const BYTES = 88;
/** SPEED_UNKNOWN, -1, as the two halves tell it. */
const UNKNOWN_MBIT = 0xffff_ffff;
const BITS_PER_MBIT = 1_000_000;

const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *data)');
const block = koffi.alloc('uint8_t', BYTES);
const memory = Buffer.from(koffi.view(block, BYTES));

/** How fast a link of the calling thread's namespace is; null where it does not tell, as while it is down. */
export function linkSpeedBitsPerSec(name: string): number | null {
  memory.fill(0);
  memory.write(name, 'utf8');
  memory.writeBigUInt64LE(koffi.address(block) + BigInt(AT.command), AT.pointer);
  memory.writeUInt32LE(ETHTOOL_GSET, AT.command);
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0);
  try {
    // A link without a speed, such as a bridge, refuses.
    if ((ioctl(fd, SIOCETHTOOL, block) as number) < 0) return null;
  } finally {
    closeSync(fd);
  }
  const mbit = ((memory.readUInt16LE(AT.speedHigh) << 16) | memory.readUInt16LE(AT.speed)) >>> 0;
  return mbit === 0 || mbit === UNKNOWN_MBIT ? null : mbit * BITS_PER_MBIT;
}
