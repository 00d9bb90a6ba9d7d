import { describe, expect, test } from 'vitest';
import { checkNetworks } from '../../../src/network/check.ts';
import type { Attachment, NetworkSpec } from '../../../src/network/desired.ts';
import { bridge, intranet, overlay } from './specs.ts';

const UNDERLAY = '192.168.77.0/24';

const check = (networks: readonly NetworkSpec[], attachments: Readonly<Record<string, readonly Attachment[]>> = {}) =>
  checkNetworks(
    { networks },
    Object.entries(attachments).map(([name, attachments]) => ({ name, attachments })),
    UNDERLAY,
    1500,
  );

const to = (network: string, more: Partial<Attachment> = {}): Attachment => ({ network, publish: [], ...more });
const port = (hostPort: number, more = {}) => ({ protocol: 'tcp' as const, hostPort, containerPort: 80, ...more });

describe('networks that make sense', () => {
  test.for([
    [
      'two tenants with one segment',
      [overlay('a', '10.0.0.0/24'), overlay('b', '10.0.0.0/24', { internal: true })],
      {},
    ],
    [
      'a tenant with the segment of a network that is routed',
      [overlay('a', '10.0.0.0/24'), bridge('b', '10.0.0.0/24')],
      {},
    ],
    ['an intranet that is part of the underlay', [intranet('i', '192.168.77.128/25')], {}],
    [
      'a member of an internal network that serves outside',
      [overlay('a', '10.0.0.0/24', { internal: true }), intranet('i', '192.168.77.128/25')],
      { c: [to('a'), to('i')] },
    ],
    [
      'one port on two addresses of the host',
      [bridge('b', '10.1.0.0/24')],
      {
        c: [to('b', { publish: [port(80, { hostAddress: '192.168.77.11' })] })],
        d: [to('b', { publish: [port(80, { hostAddress: '192.168.77.12' })] })],
      },
    ],
  ] as const)('%s', ([, networks, attachments]) => expect(() => check(networks, attachments)).not.toThrow());
});

describe('networks that do not', () => {
  test.for([
    ['network a: "10.0.0" is not an IPv4 address', [overlay('a', '10.0.0/24')], {}],
    ['network a: 10.0.0.1/24 is an address in a network', [overlay('a', '10.0.0.1/24')], {}],
    [
      'network a: it cannot be internal and have a way out',
      [overlay('a', '10.0.0.0/24', { internal: true, nat: true })],
      {},
    ],
    ['network a: it is there twice', [overlay('a', '10.0.0.0/24'), overlay('a', '10.0.1.0/24')], {}],
    ['network a: 10.0.0.0/32 has no address', [bridge('a', '10.0.0.0/32')], {}],
    [
      'network b: its pool 10.0.0.128/25 overlaps 10.0.0.0/24 of network a',
      [bridge('a', '10.0.0.0/24'), overlay('b', '10.0.0.128/25', { nat: true })],
      {},
    ],
    ['network a: its pool 192.168.0.0/16 overlaps the underlay', [bridge('a', '192.168.0.0/16')], {}],
    ['network i: 10.9.0.0/24 is not part of the underlay', [intranet('i', '10.9.0.0/24')], {}],
    ['network a: mtu 1500 is more than', [overlay('a', '10.0.0.0/24', { mtu: 1500 })], {}],
    ['network a: mtu 10 is not between', [bridge('a', '10.0.0.0/24', { mtu: 10 })], {}],
    ['c: it is attached to network gone, which is not there', [], { c: [to('gone')] }],
    ['c: it is attached to network a twice', [overlay('a', '10.0.0.0/24')], { c: [to('a'), to('a')] }],
    [
      'c: address 10.1.0.5 is outside the pool',
      [overlay('a', '10.0.0.0/24')],
      { c: [to('a', { address: '10.1.0.5' })] },
    ],
    [
      "c: address 10.0.0.1 is the network's own",
      [bridge('a', '10.0.0.0/24')],
      { c: [to('a', { address: '10.0.0.1' })] },
    ],
    [
      "c: address 10.0.0.255 is the network's own",
      [overlay('a', '10.0.0.0/24')],
      { c: [to('a', { address: '10.0.0.255' })] },
    ],
    [
      'c: network a is internal: nothing of it can be published',
      [overlay('a', '10.0.0.0/24', { internal: true })],
      { c: [to('a', { publish: [port(80)] })] },
    ],
    ['c: network a has no way in', [overlay('a', '10.0.0.0/24')], { c: [to('a', { publish: [port(80)] })] }],
    ['c: port 70000 is not between', [bridge('a', '10.0.0.0/24')], { c: [to('a', { publish: [port(70_000)] })] }],
    [
      'd: port 80/tcp of the host is published by c already',
      [bridge('a', '10.0.0.0/24')],
      {
        c: [to('a', { publish: [port(80)] })],
        d: [to('a', { publish: [port(80, { hostAddress: '192.168.77.11' })] })],
      },
    ],
    [
      'd: port 80/tcp of the host is published by c already',
      [bridge('a', '10.0.0.0/24')],
      {
        c: [to('a', { publish: [port(80, { hostAddress: '192.168.77.11' })] })],
        d: [to('a', { publish: [port(80)] })],
      },
    ],
    [
      'c: port 47890/udp of the host is its tunnels',
      [bridge('a', '10.0.0.0/24')],
      { c: [to('a', { publish: [port(47_890, { protocol: 'udp' })] })] },
    ],
    [
      'c: 127.0.0.1 is a loopback address',
      [bridge('a', '10.0.0.0/24')],
      { c: [to('a', { publish: [port(80, { hostAddress: '127.0.0.1' })] })] },
    ],
    [
      'c: "192.168.77.11/24" is not an IPv4 address',
      [bridge('a', '10.0.0.0/24')],
      { c: [to('a', { publish: [port(80, { hostAddress: '192.168.77.11/24' })] })] },
    ],
    [
      'c: "10.0.0.5/24" is not an IPv4 address',
      [overlay('a', '10.0.0.0/24')],
      { c: [to('a', { address: '10.0.0.5/24' })] },
    ],
    [
      'c: networks a and b have the same addresses',
      [overlay('a', '10.0.0.0/24'), overlay('b', '10.0.0.0/28')],
      { c: [to('a'), to('b')] },
    ],
    ['network a/b: a name is of letters', [overlay('a/b', '10.0.0.0/24')], {}],
    ['network a@h1: a name is of letters', [overlay('a@h1', '10.0.0.0/24')], {}],
    ['c/d: a name is of letters', [overlay('a', '10.0.0.0/24')], { 'c/d': [to('a')] }],
    [
      'd: address 10.0.0.5 of network a is asked for by c too',
      [overlay('a', '10.0.0.0/24')],
      { c: [to('a', { address: '10.0.0.5' })], d: [to('a', { address: '10.0.0.5' })] },
    ],
  ] as const)('%s', ([message, networks, attachments]) => {
    expect(() => check(networks, attachments as Record<string, readonly Attachment[]>)).toThrow(
      new RegExp(`^${message.replaceAll(/[.()/]/g, String.raw`\$&`)}`),
    );
  });
});
