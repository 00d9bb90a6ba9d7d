import { closeSync } from 'node:fs';
import { withinFile } from '../../backends/linux/netns.ts';
import { acceptFrom, type Awaited, listenOn, offerBytes, waitFor } from '../../backends/linux/stream-calls.ts';
import {
  AF_INET,
  bindSocket,
  openSocket,
  receiveBytes,
  receiveEnvelope,
  sendEnvelope,
  setOption,
  SOCK_DGRAM,
  SOCK_STREAM,
  socketAddress,
  tellLocalAddress,
} from '../../backends/linux/syscalls.ts';
import { comeFirst } from './asking.ts';
import { IPPROTO_TCP, SOL_SOCKET, TCP_NODELAY } from './calls.ts';
import { CHANNEL, readLine } from './channel.ts';
import type { EchoOrder } from './packet-order.ts';

const SO_REUSEADDR = 2;
const IDLE_MS = 1000;
/** At once, before others have their turn. */
const DATAGRAMS_IN_A_TURN = 64;
const bytes = Buffer.alloc(64 * 1024);

/** Sends back what comes, by UDP from the address it came to, until the channel ends. */
export function echo({ namespaceFile, port }: EchoOrder, begun: () => void): never {
  comeFirst();
  const open = (type: number): number => withinFile(namespaceFile, () => openSocket(AF_INET, type, 0));
  const datagrams = open(SOCK_DGRAM);
  tellLocalAddress(datagrams);
  bindSocket(datagrams, socketAddress(0, port));
  const listener = open(SOCK_STREAM);
  // Connections of an earlier one linger for a minute (TIME_WAIT).
  setOption(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  bindSocket(listener, socketAddress(0, port));
  listenOn(listener);
  begun();
  const connections = new Set<number>();
  for (;;) {
    const fds = [datagrams, listener, ...connections];
    const ready = waitFor([CHANNEL, ...fds.map((fd): Awaited => ({ fd, to: 'read' }))], IDLE_MS);
    if (ready.has(CHANNEL.fd)) readLine();
    if (ready.has(datagrams)) echoDatagrams(datagrams);
    if (ready.has(listener)) accept(listener, connections);
    for (const fd of connections)
      if (ready.has(fd) && !echoBytes(fd)) {
        connections.delete(fd);
        closeSync(fd);
      }
  }
}

function echoDatagrams(fd: number): void {
  for (let time = 0; time < DATAGRAMS_IN_A_TURN; time++) {
    const envelope = receiveEnvelope(fd);
    if (envelope === null) return;
    sendEnvelope(fd, envelope);
  }
}

function accept(listener: number, connections: Set<number>): void {
  for (let fd = acceptFrom(listener); fd >= 0; fd = acceptFrom(listener)) {
    setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    connections.add(fd);
  }
}

/** @returns false where the connection is over, or its other end does not read what it is sent */
function echoBytes(fd: number): boolean {
  const length = receiveBytes(fd, bytes);
  return length > 0 && offerBytes(fd, bytes.subarray(0, length)) === length;
}
