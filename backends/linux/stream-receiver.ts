import { closeSync } from 'node:fs';
import { withinFile } from './netns.ts';
import {
  acceptFrom,
  type Awaited,
  discardBytes,
  drainDatagrams,
  droppedBy,
  EAGAIN,
  listenOn,
  segmentsOf,
} from './stream-calls.ts';
import type { ReceiveOrder } from './stream-order.ts';
import { AF_INET, bindSocket, openSocket, setOption, SOCK_DGRAM, SOCK_STREAM, socketAddress } from './syscalls.ts';

/** Ethernet, IPv4, UDP. */
const UDP_HEADERS_BYTES = 14 + 20 + 8;
/** Ethernet, IPv4, TCP with timestamps, which Linux sends unless told otherwise. */
const TCP_HEADERS_BYTES = 14 + 20 + 32;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_RCVBUFFORCE = 33;
/** 50 ms of full frames at 500 Mbit/s, at 2304 bytes of the kernel's each. */
const BUFFER_BYTES = 4 << 20;
const DISCARD_BYTES = 4 << 20;

/** Takes what comes to one place, and counts it. */
export interface Receiver {
  awaited(): readonly Awaited[];
  /** Takes what there is. */
  take(): void;
  wireBytes(): number;
}

/** @throws Refusal EADDRINUSE, ENODEV */
export function openReceiver({ namespaceFile, protocol, port }: ReceiveOrder): Receiver {
  const isUdp = protocol === 'udp';
  const fd = withinFile(namespaceFile, () => openSocket(AF_INET, isUdp ? SOCK_DGRAM : SOCK_STREAM, 0));
  if (isUdp) setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES);
  // Connections of an earlier receiver linger for a minute (TIME_WAIT).
  else setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  bindSocket(fd, socketAddress(0, port));
  if (isUdp) return new DatagramReceiver(fd);
  listenOn(fd);
  return new ConnectionReceiver(fd);
}

class DatagramReceiver implements Receiver {
  readonly #fd: number;
  #datagrams = 0;
  #bytes = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  awaited(): readonly Awaited[] {
    return [{ fd: this.#fd, to: 'read' }];
  }

  take(): void {
    const { datagrams, bytes } = drainDatagrams(this.#fd);
    this.#datagrams += datagrams;
    this.#bytes += bytes;
  }

  /** What found no room in the socket was as large as what did. */
  wireBytes(): number {
    this.take();
    const all = this.#datagrams + droppedBy(this.#fd);
    return this.#datagrams === 0 ? 0 : (all / this.#datagrams) * this.#bytes + all * UDP_HEADERS_BYTES;
  }
}

class ConnectionReceiver implements Receiver {
  readonly #listener: number;
  readonly #open = new Set<number>();
  #endedBytes = 0;

  constructor(listener: number) {
    this.#listener = listener;
  }

  awaited(): readonly Awaited[] {
    return [this.#listener, ...this.#open].map((fd) => ({ fd, to: 'read' }));
  }

  take(): void {
    for (let fd = acceptFrom(this.#listener); fd >= 0; fd = acceptFrom(this.#listener)) this.#open.add(fd);
    for (const fd of this.#open) {
      const length = discardBytes(fd, DISCARD_BYTES);
      if (length > 0 || length === -EAGAIN) continue;
      this.#endedBytes += wireBytesOf(fd);
      this.#open.delete(fd);
      closeSync(fd);
    }
  }

  wireBytes(): number {
    this.take();
    return [...this.#open].reduce((sum, fd) => sum + wireBytesOf(fd), this.#endedBytes);
  }
}

/**
 * By segments, not by bytes read: after a loss all that follows waits unread until the lost one has come again, which at 1 Mbit/s
 * takes seconds. A stream sends full segments alone (Nagle's algorithm holds the others back).
 */
function wireBytesOf(fd: number): number {
  const { segments, segmentBytes } = segmentsOf(fd);
  return segments * (segmentBytes + TCP_HEADERS_BYTES);
}
