import assert from 'node:assert/strict';
import type { HostError } from '../../src/host/errors.ts';
import type { Receiving, Stream } from '../../src/host/probes.ts';
import type { ContractCase, ContractFixture } from './contract.ts';
import { addEntries, address, attach, change, PORT, setLinks } from './network.ts';

const refusedWith = (code: string, operation: string, target?: string) => (error: HostError) => {
  assert.deepEqual(
    { code: error.code, operation: error.operation, target: error.target },
    { code, operation, target: target ?? error.target },
  );
  return true;
};

export const stream = (protocol: Stream['protocol'], more: Partial<Stream> = {}): Stream => ({
  from: '',
  to: '10.1.0.5',
  port: PORT,
  protocol,
  ...more,
});

/** A container with an address, and one of the host's own on the other end of its link. */
export async function oneContainer(fixture: ContractFixture): Promise<void> {
  await attach(fixture, 'web', 'v0', '10.1.0.5/24');
  await addEntries(fixture, [address('', 'v0', '10.1.0.1/24')]);
}

export async function bytesOf(receiving: Receiving, index = 0): Promise<number> {
  return (await receiving.wireBytes())[index]!;
}

/** Waits until what is counted stays what it is, and returns it. */
export async function settledBytes({ waitUntil }: ContractFixture, receiving: Receiving, index = 0): Promise<number> {
  let before = -1;
  await waitUntil(async () => {
    const seen = before;
    before = await bytesOf(receiving, index);
    return seen === before;
  }, 'what is on its way to arrive');
  return before;
}

/** Streams, whatever carries them. */
export const streamsContract: readonly ContractCase[] = [
  {
    name: 'UDP no faster than asked',
    async run(fixture) {
      const { host, waitUntil } = fixture;
      await oneContainer(fixture);
      const receiving = await host.probes.receive([{ namespace: 'web', port: PORT, protocol: 'udp' }]);
      // So small that a sender which forgets the headers is two fifths too fast.
      const streaming = await host.probes.stream([stream('udp', { payloadBytes: 100, rateBitsPerSec: 4e6 })]);
      const begunMs = host.clock.monotonicMs();
      const before = await bytesOf(receiving);
      await waitUntil(async () => (await bytesOf(receiving)) - before > 1e6, '1 MB to arrive');
      const bytes = (await bytesOf(receiving)) - before;
      const tookMs = host.clock.monotonicMs() - begunMs;
      await streaming.close();
      await receiving.close();
      assert.equal(bytes % 142, 0);
      assert.ok(bytes <= 1.1 * (4e6 / 8000) * tookMs, `${bytes} bytes in ${tookMs} ms`);
    },
  },
  {
    name: 'TCP: full segments with their headers, and several places each by itself',
    async run(fixture) {
      const { host, waitUntil } = fixture;
      await oneContainer(fixture);
      const places = [PORT, PORT + 1].map((port) => ({ namespace: 'web', port, protocol: 'tcp' }) as const);
      const receiving = await host.probes.receive([...places, { namespace: 'web', port: PORT, protocol: 'udp' }]);
      const streaming = await host.probes.stream([stream('tcp', { port: PORT + 1 })]);
      await waitUntil(async () => (await bytesOf(receiving, 1)) > 20e6, '20 MB to arrive');
      await streaming.close();
      const bytes = await settledBytes(fixture, receiving, 1);
      assert.deepEqual(await receiving.wireBytes(), [0, bytes, 0]);
      assert.equal(bytes % 1514, 0);
      await receiving.close();
    },
  },
  {
    name: 'what nobody takes, or what is lost on its way, arrives nowhere; when the way is whole again it arrives',
    async run(fixture) {
      const { host, settle, waitUntil } = fixture;
      await oneContainer(fixture);
      const nobodys = await host.probes.stream([stream('udp', { port: PORT + 1, rateBitsPerSec: 1e6 })]);
      const receiving = await host.probes.receive([{ namespace: 'web', port: PORT, protocol: 'udp' }]);
      const streaming = await host.probes.stream([stream('udp', { rateBitsPerSec: 1e6 })]);
      await waitUntil(async () => (await bytesOf(receiving)) > 20_000, '20 kB to arrive');
      await setLinks(fixture, [change('web', 'eth0', { up: false })]);
      const before = await settledBytes(fixture, receiving);
      await settle(() => host.clock.sleep(100));
      assert.equal(await bytesOf(receiving), before);
      await setLinks(fixture, [change('web', 'eth0', { up: true })]);
      await waitUntil(async () => (await bytesOf(receiving)) > before + 20_000, 'more to arrive');
      for (const each of [streaming, nobodys, receiving]) await each.close();
    },
  },
  {
    name: 'what cannot be received or sent is refused, and nothing of it is left',
    async run(fixture) {
      const { host } = fixture;
      await oneContainer(fixture);
      const place = { namespace: 'web', port: PORT, protocol: 'tcp' } as const;
      const receiving = await host.probes.receive([place]);
      const other = { ...place, port: PORT + 1 };
      await assert.rejects(
        host.probes.receive([other, place]),
        refusedWith('EADDRINUSE', 'probes.receive', `${host.name}/web tcp port ${PORT}`),
      );
      await assert.rejects(
        host.probes.receive([{ ...place, namespace: 'nowhere' }]),
        refusedWith('ENODEV', 'probes.receive'),
      );
      const both = await host.probes.receive([other]);
      await both.close();
      await both.close();
      const refused = (code: string, given: Stream) =>
        assert.rejects(host.probes.stream([stream('tcp'), given]), refusedWith(code, 'probes.stream'));
      await refused('ENODEV', stream('udp', { from: 'nowhere' }));
      await refused('EHOSTUNREACH', stream('tcp', { port: PORT + 1 }));
      await refused('EHOSTUNREACH', stream('udp', { to: '10.9.0.1' }));
      await refused('EINVAL', stream('udp', { to: '10.9.0' }));
      await refused('EINVAL', stream('udp', { payloadBytes: 70_000 }));
      await receiving.close();
    },
  },
];
