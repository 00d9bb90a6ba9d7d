// What streams of real packets are besides.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { identityOf, runMark } from '../../backends/linux/owner.ts';
import { sweepDeadRuns } from '../../backends/linux/runs.ts';
import type { ContractCase, ContractFixture } from './contract.ts';
import { PORT } from './network.ts';
import { bytesOf, oneContainer, settledBytes, stream } from './streams.ts';

/** The processes that this one has started. */
const children = (): string[] =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((pid) => pid !== '');

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
    name: 'TCP: what is counted is what the link counted',
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
