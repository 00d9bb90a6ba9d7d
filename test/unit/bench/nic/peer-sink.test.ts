import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { openPeerSink } from '../../../../bench/nic/peer-sink.ts';

/** Somebody who answers what is asked with these lines, one each, and then no more. */
async function withStranger(answers: readonly string[], work: (port: number) => Promise<void>): Promise<void> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    const rest = [...answers];
    socket.on('error', () => undefined);
    socket.on('data', () => {
      const next = rest.shift();
      if (next === undefined) socket.destroy();
      else socket.write(next);
    });
  }).listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    await work((server.address() as AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

const opening = (port: number, signal = new AbortController().signal) => openPeerSink('127.0.0.1', port, signal);

test.for([
  ['speaks no JSON', ['220 mail.example ESMTP\r\n']],
  ['says something else', ['{"begun":{"release":1}}\n']],
  ['counts before it has begun', ['{"counts":{"packets":1,"bytes":1,"tunnelPackets":0}}\n']],
  ['never ends its line', ['x'.repeat(100_000)]],
] as const)('whoever %s is no sink', async ([, answers]) => {
  await withStranger(answers, async (port) => {
    await expect(opening(port)).rejects.toThrow(
      /^bench nic --peer 127\.0\.0\.1:\d+: (?:what answers there is no sink of Plimsoll's.*start "plimsoll bench nic --sink" there|.*a line that does not end)/,
    );
  });
});

test('a sink of another version is named', async () => {
  await withStranger(['{"begun":{"version":7}}\n'], async (port) => {
    await expect(opening(port)).rejects.toThrow(
      `bench nic --peer 127.0.0.1:${port}: it speaks version 7 of the bench's language, and this is 1: run the same Plimsoll on both hosts (EOPNOTSUPP)`,
    );
  });
});

test('counts are those that it tells, and nonsense is not believed', async () => {
  const counts = { packets: 3, bytes: 276, tunnelPackets: 0 };
  const begun = '{"begun":{"version":1}}\n';
  const told = (what: object): string => `${JSON.stringify({ counts: what })}\n`;
  await withStranger([begun, told(counts), told({ ...counts, packets: -1 })], async (port) => {
    const sink = await opening(port);
    try {
      expect(await sink.counts()).toEqual(counts);
      await expect(sink.counts()).rejects.toThrow(/no sink of Plimsoll's/);
      // And it stays so.
      await expect(sink.counts()).rejects.toThrow(/no sink of Plimsoll's/);
    } finally {
      await sink.close();
    }
  });
});

test('where nobody is, it is said what to do', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  await expect(opening(port)).rejects.toThrow(
    /nobody is reached there \(connect ECONNREFUSED .*\): start "plimsoll bench nic --sink" there, and let its TCP port through \(EHOSTUNREACH\)$/,
  );
});

test('while nobody answers it is given up when that is wanted', async () => {
  // Nothing is sent back by an address that leads nowhere (RFC 5737).
  await expect(openPeerSink('192.0.2.1', 1, AbortSignal.abort())).rejects.toThrow(
    /nobody is reached there \(no answer\)/,
  );
});
