import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { identityOf, runMark } from '../../backends/linux/owner.ts';
import { sweepDeadRuns } from '../../backends/linux/runs.ts';
import type { HostError } from '../../src/host/errors.ts';
import type { Receiving, Stream } from '../../src/host/probes.ts';
import type { ContractCase, ContractFixture } from './contract.ts';
import { addEntries, address, attach, PORT } from './network.ts';

const refusedWith = (code: string, operation: string, target?: string) => (error: HostError) => {
  assert.deepEqual(
    { code: error.code, operation: error.operation, target: error.target },
    { code, operation, target: target ?? error.target },
  );
  return true;
};

const stream = (protocol: Stream['protocol'], more: Partial<Stream> = {}): Stream => ({
  from: '',
  to: '10.1.0.5',
  port: PORT,
  protocol,
  ...more,
});

/** A container with an address, and one of the host's own on the other end of its link. */
async function oneContainer(fixture: ContractFixture): Promise<void> {
  await attach(fixture, 'web', 'v0', '10.1.0.5/24');
  await addEntries(fixture, [address('', 'v0', '10.1.0.1/24')]);
}

async function bytesOf(receiving: Receiving, index = 0): Promise<number> {
  return (await receiving.wireBytes())[index]!;
}

/** The processes that this one has started. */
const children = (): string[] =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((pid) => pid !== '');

/** Waits until what is counted stays what it is, and returns it. */
async function settledBytes({ waitUntil }: ContractFixture, receiving: Receiving): Promise<number> {
  let before = -1;
  await waitUntil(async () => {
    const seen = before;
    before = await bytesOf(receiving);
    return seen === before;
  }, 'what is on its way to arrive');
  return before;
}

interface LinkCount {
  readonly bytes: number;
  readonly packets: number;
}

/** What came in by the container's own link, as `ip` tells it. */
function countOf({ host }: ContractFixture): LinkCount {
  const text = execFileSync('ip', ['-n', `${runMark(host.name)}+web`, '-s', '-j', 'link', 'show', 'dev', 'eth0'], {
    encoding: 'utf8',
  });
  return (JSON.parse(text) as { stats64: { rx: LinkCount } }[])[0]!.stats64.rx;
}

/** Where nothing models how fast packets go, nobody may be told so. */
export const noStreamsContract: readonly ContractCase[] = [
  {
    name: 'streams are refused, not imitated',
    async run({ host, settle }) {
      await settle(async () => {
        await assert.rejects(
          host.probes.receive([{ namespace: '', port: PORT, protocol: 'udp' }]),
          refusedWith('EOPNOTSUPP', 'probes.receive'),
        );
        await assert.rejects(host.probes.stream([stream('udp')]), refusedWith('EOPNOTSUPP', 'probes.stream'));
      });
    },
  },
];

/** Streams by real packets. */
export const linuxStreamsContract: readonly ContractCase[] = [
  {
    name: 'UDP as fast as it goes: what reached the namespace is counted to the byte, also what nobody read in time',
    async run(fixture) {
      const { host, waitUntil } = fixture;
      await oneContainer(fixture);
      const earlier = children();
      const receiving = await host.probes.receive([{ namespace: 'web', port: PORT, protocol: 'udp' }]);
      const receivers = children().filter((pid) => !earlier.includes(pid));
      const before = countOf(fixture);
      const streaming = await host.probes.stream([stream('udp', { payloadBytes: 18 })]);
      // As slow as a reader can be: 10,000 of these do not find room.
      for (const pid of receivers) process.kill(Number(pid), 'SIGSTOP');
      await waitUntil(() => countOf(fixture).packets - before.packets > 100_000, '100,000 datagrams to come');
      for (const pid of receivers) process.kill(Number(pid), 'SIGCONT');
      await waitUntil(async () => (await bytesOf(receiving)) > 20e6, '20 MB to arrive');
      await streaming.close();
      const bytes = await settledBytes(fixture, receiving);
      const after = countOf(fixture);
      await receiving.close();
      assert.equal(bytes % 60, 0);
      // Beside them a few questions and answers of ARP, of 42 bytes.
      const others = after.packets - before.packets - bytes / 60;
      assert.ok(others >= 0 && others < 20, `${others} packets more than were counted`);
      assert.equal(after.bytes - before.bytes - bytes, others * 42);
    },
  },
  {
    name: 'UDP no faster than asked',
    async run(fixture) {
      const { host, waitUntil } = fixture;
      await oneContainer(fixture);
      const receiving = await host.probes.receive([{ namespace: 'web', port: PORT, protocol: 'udp' }]);
      // So small that a sender which forgets the headers is two fifths too fast.
      const streaming = await host.probes.stream([stream('udp', { payloadBytes: 100, rateBitsPerSec: 4e6 })]);
      const begunMs = performance.now();
      const before = await bytesOf(receiving);
      await waitUntil(async () => (await bytesOf(receiving)) - before > 1e6, '1 MB to arrive');
      const bytes = (await bytesOf(receiving)) - before;
      const tookMs = performance.now() - begunMs;
      await streaming.close();
      await receiving.close();
      assert.equal(bytes % 142, 0);
      assert.ok(bytes <= 1.1 * (4e6 / 8000) * tookMs, `${bytes} bytes in ${tookMs} ms`);
    },
  },
  {
    name: 'TCP: what was on the wire, headers included; several places each by itself',
    async run(fixture) {
      const { host, waitUntil } = fixture;
      await oneContainer(fixture);
      // So that the link counts each segment with its own headers.
      execFileSync('ip', ['-n', runMark(host.name), 'link', 'set', 'dev', 'v0', 'gso_max_segs', '1']);
      const places = [PORT, PORT + 1].map((port) => ({ namespace: 'web', port, protocol: 'tcp' }) as const);
      const receiving = await host.probes.receive([...places, { namespace: 'web', port: PORT, protocol: 'udp' }]);
      const before = countOf(fixture);
      const streaming = await host.probes.stream([stream('tcp', { port: PORT + 1 })]);
      await waitUntil(async () => (await bytesOf(receiving, 1)) > 20e6, '20 MB to arrive');
      await streaming.close();
      let bytes = 0;
      await waitUntil(async () => {
        const seen = bytes;
        bytes = await bytesOf(receiving, 1);
        return seen === bytes;
      }, 'what is on its way to arrive');
      const linkBytes = countOf(fixture).bytes - before.bytes;
      assert.deepEqual(await receiving.wireBytes(), [0, bytes, 0]);
      await receiving.close();
      // A sender that the machine keeps waiting sends a segment here and there that is not full.
      assert.ok(Math.abs(linkBytes / bytes - 1) < 0.005, `${bytes} bytes, and ${linkBytes} on the link`);
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
  {
    name: 'after kill -9 of who asked for it nothing streams on',
    async run({ waitUntil }) {
      const program = fileURLToPath(new URL(`./stream-owner${extname(import.meta.url)}`, import.meta.url));
      const owner = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
      const gone = once(owner, 'exit');
      const { value: line } = await createInterface({ input: owner.stdout })[Symbol.asyncIterator]().next();
      const { mark, children } = JSON.parse(line as string) as { mark: string; children: number[] };
      assert.equal(children.length, 2);
      owner.kill('SIGKILL');
      await gone;
      await waitUntil(() => children.every((pid) => identityOf(pid) === null), 'its processes to end');
      assert.ok((await sweepDeadRuns()).includes(mark));
    },
  },
];
