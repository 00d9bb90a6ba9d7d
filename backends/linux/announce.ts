import { closeSync } from 'node:fs';
import { parseAddress } from '../../src/host/ipv4.ts';
import type { Announcement } from '../../src/host/routing.ts';
import { getLink } from './link-message.ts';
import { Netlink } from './netlink.ts';
import type { NetworkRoot } from './netns.ts';
import { openSocket, refusalOf, sendBytesTo, SOCK_DGRAM } from './syscalls.ts';

const AF_PACKET = 17;
const ETH_P_ARP = 0x0806;
const ETH_P_IP = 0x0800;
const ARPHRD_ETHER = 1;
const ARPOP_REQUEST = 1;
const MAC_BYTES = 6;
const ADDRESS_BYTES = 4;

/**
 * Sends a gratuitous ARP request: who has the address, asks the one who has it. Whoever knows the address by another MAC
 * takes the new one, also in the second in which it takes no other news (arp_is_garp in net/ipv4/arp.c). @throws Refusal
 */
export function announce(root: NetworkRoot, { namespace, link: name, address }: Announcement): void {
  const bytes = parseAddress(address);
  root.within(namespace, () => {
    const { index, mac } = linkOf(name);
    // Of protocol 0: it is to receive nothing (packet(7)).
    const fd = openSocket(AF_PACKET, SOCK_DGRAM, 0);
    try {
      const sent = sendBytesTo(fd, arpRequest(mac, bytes), broadcastOn(index));
      if (sent < 0) throw refusalOf(-sent, 'send');
    } finally {
      closeSync(fd);
    }
  });
}

function linkOf(name: string): { readonly index: number; readonly mac: string } {
  const netlink = new Netlink();
  try {
    return getLink(netlink, name);
  } finally {
    netlink.close();
  }
}

/** RFC 826; sender and target are the same address (RFC 5227, 2.3). */
function arpRequest(mac: string, address: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16BE(ARPHRD_ETHER, 0);
  bytes.writeUInt16BE(ETH_P_IP, 2);
  bytes.writeUInt8(MAC_BYTES, 4);
  bytes.writeUInt8(ADDRESS_BYTES, 5);
  bytes.writeUInt16BE(ARPOP_REQUEST, 6);
  bytes.write(mac.replaceAll(':', ''), 8, 'hex');
  bytes.writeUInt32BE(address, 14);
  bytes.writeUInt32BE(address, 24);
  return bytes;
}

/** struct sockaddr_ll. */
function broadcastOn(index: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt16LE(AF_PACKET, 0);
  bytes.writeUInt16BE(ETH_P_ARP, 2);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt8(MAC_BYTES, 11);
  bytes.fill(0xff, 12, 12 + MAC_BYTES);
  return bytes;
}
