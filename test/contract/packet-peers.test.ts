// The packet bench over two hosts: a sink in one namespace, its client in another.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { identityOf } from '../../backends/linux/owner.ts';
import { sweepDeadRuns } from '../../backends/linux/runs.ts';
import { sendmmsg } from '../../bench/nic/generators/sendmmsg.ts';
import { PEER_PORT } from '../../bench/nic/peer-protocol.ts';
import { PacketProcesses } from '../../bench/nic/packet-processes.ts';
import { startConversing } from '../../bench/nic/request-response.ts';
import type { Sink, SinkCounts } from '../../bench/nic/sink.ts';
import { waitUntil, whyNotHere } from './linux.ts';
import { layWires, type PacketWires } from './packet-place.ts';

const reason = whyNotHere();
if (reason !== null) process.stdout.write(`skipped: the packet bench over two hosts: ${reason}\n`);

const PROGRAM = fileURLToPath(new URL(`./packet-owner${extname(import.meta.url)}`, import.meta.url));
const HOST = '198.19.0.1';

/** A process in a namespace, and the lines it says. */
class Program {
  readonly child: ChildProcess;
  readonly said: Record<string, unknown>[] = [];
  readonly #gone: Promise<unknown>;

  constructor({ root }: Pick<PacketWires, 'root'>, namespace: string, ...words: readonly string[]) {
    this.child = root.within(namespace, () =>
      spawn(process.execPath, [PROGRAM, ...words], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    this.#gone = once(this.child, 'exit');
    createInterface({ input: this.child.stdout! }).on('line', (line) =>
      this.said.push(JSON.parse(line) as Record<string, unknown>),
    );
  }

  /** The next line that it says. */
  async hear(count = this.said.length + 1): Promise<Record<string, unknown>> {
    await waitUntil(() => this.said.length >= count || this.child.exitCode !== null, 'it to say something');
    return this.said[count - 1] ?? { error: 'it has ended' };
  }

  async ask(...words: readonly string[]): Promise<Record<string, unknown>> {
    const count = this.said.length + 1;
    this.child.stdin!.write(`${JSON.stringify(words)}\n`);
    return await this.hear(count);
  }

  /** Waits until it has told of this. */
  async until(event: RegExp): Promise<void> {
    await waitUntil(() => this.said.some((each) => event.test(String(each['event']))), `${event} to be told`);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.child.kill(signal);
    await this.#gone;
  }
}

/** The sink of another process. */
const sinkOf = (client: Program): Sink => ({
  counts: async () => (await client.ask('counts')) as unknown as SinkCounts,
  close: async () => void (await client.ask('close')),
});

const tables = ({ root }: PacketWires): string =>
  execFileSync('nsenter', [`--net=${root.pathOf('sink')}`, 'nft', 'list', 'tables'], { encoding: 'utf8' });

interface Hosts {
  readonly wires: PacketWires;
  readonly start: (namespace: string, ...words: readonly string[]) => Program;
  readonly sink: () => Promise<Program>;
}

/** Two hosts and a wire; whatever was started on them ends. */
async function withHosts(work: (hosts: Hosts) => Promise<void>): Promise<void> {
  const wires = await layWires('peers', 1);
  const started: Program[] = [];
  const start = (namespace: string, ...words: readonly string[]): Program => {
    const program = new Program(wires, namespace, ...words);
    started.push(program);
    return program;
  };
  const sink = async (): Promise<Program> => {
    const program = start('sink', 'sink', '0.0.0.0', String(PEER_PORT));
    await program.until(/^waits at/);
    return program;
  };
  try {
    await work({ wires, start, sink });
  } finally {
    for (const program of started) if (program.child.exitCode === null) await program.end('SIGKILL');
    await wires.close();
  }
}

const OPEN = ['open', HOST, String(PEER_PORT)] as const;

describe.skipIf(reason !== null)('a sink on another host', () => {
  test('counts each datagram, answers requests, serves one at a time, and leaves nothing at Ctrl-C', async () => {
    await withHosts(async ({ wires, start, sink }) => {
      const server = await sink();
      const client = start('c0', 'client');
      expect(await client.ask(...OPEN)).toEqual({ open: true });
      const place = { root: wires.root, containers: wires.containers, sink: sinkOf(client) };
      const generator = sendmmsg();
      try {
        const generating = await generator.start(place, { containers: place.containers, payloadBytes: 64 });
        await waitUntil(async () => (await place.sink.counts()).packets > 10_000, '10,000 packets to come');
        const { packets } = await generating.stop();
        const counts = await place.sink.counts();
        // And that which has warmed the way, or several.
        expect(counts.packets - packets).toBeGreaterThan(0);
        expect(counts.packets - packets).toBeLessThan(100);
      } finally {
        await generator.close();
      }
      const askers = new PacketProcesses();
      try {
        const conversation = { containers: place.containers, protocol: 'tcp', payloadBytes: 9 } as const;
        const conversing = await startConversing(place, conversation, askers);
        expect((await conversing.stop()).lost).toBe(0);
      } finally {
        await askers.close();
      }
      const other = start('c0', 'client');
      expect((await other.ask(...OPEN))['error']).toMatch(
        /^HostError: bench nic --peer 198\.19\.0\.1:47891: it serves 198\.19\.0\.2:\d+, and one at a time: try later/,
      );
      await client.ask('close');
      // Without any waiting.
      expect(await other.ask(...OPEN)).toEqual({ open: true });
      expect(tables(wires)).toMatch(/^table ip plimsoll-run-\d+-\d+-\d+-nic-sink\n$/);
      await server.end('SIGINT');
      expect(server.child.exitCode).toBe(0);
      expect(server.said.at(-1)).toEqual({ event: 'ended' });
      expect(tables(wires)).toBe('');
      expect((await other.ask('counts'))['error']).toMatch(
        /^HostError: bench nic --peer .*: it has ended: start "plimsoll bench nic --sink" there again/,
      );
      expect((await other.ask(...OPEN))['error']).toMatch(/nobody is reached there .*ECONNREFUSED.*start "plimsoll/);
    });
  });

  test('that is killed is told of at once, and the next one clears up behind it', async () => {
    await withHosts(async ({ wires, start, sink }) => {
      const first = await sink();
      const client = start('c0', 'client');
      await client.ask(...OPEN);
      await first.end('SIGKILL');
      expect((await client.ask('counts'))['error']).toMatch(/it (?:has ended|cannot be reached any more)/);
      const left = tables(wires);
      expect(left).toContain(`plimsoll-run-${first.child.pid}-`);
      const second = await sink();
      expect(tables(wires)).toBe('');
      expect(await client.ask(...OPEN)).toEqual({ open: true });
      expect(tables(wires)).toContain(`plimsoll-run-${second.child.pid}-`);
    });
  });

  test('is free again when its client is killed', async () => {
    await withHosts(async ({ wires, start, sink }) => {
      const server = await sink();
      const client = start('c0', 'client');
      await client.ask(...OPEN);
      await client.end('SIGKILL');
      await server.until(/^198\.19\.0\.2:\d+ has gone$/);
      expect(tables(wires)).toBe('');
      const next = start('c0', 'client');
      expect(await next.ask(...OPEN)).toEqual({ open: true });
    });
  });

  test('and its client part without a word where the wire is cut', { timeout: 120_000 }, async () => {
    await withHosts(async ({ wires, start, sink }) => {
      const server = await sink();
      const client = start('c0', 'client');
      await client.ask(...OPEN);
      const ip = (...words: readonly string[]): unknown =>
        execFileSync('nsenter', [`--net=${wires.root.pathOf('sink')}`, 'ip', ...words]);
      ip('link', 'set', 'd0', 'down');
      expect((await client.ask('counts'))['error']).toMatch(/it has said nothing for 20 s: is its link down\?/);
      await server.until(/has said nothing for 20 s, and counts as gone$/);
      expect(tables(wires)).toBe('');
      ip('link', 'set', 'd0', 'up');
      expect(await client.ask(...OPEN)).toEqual({ open: true });
    });
  });

  test('refuses what it does not understand, and where its ports are taken', async () => {
    await withHosts(async ({ wires, start, sink }) => {
      await sink();
      const client = start('c0', 'client');
      const say = async (text: string): Promise<unknown> =>
        (await client.ask('say', HOST, String(PEER_PORT), text))['answer'];
      expect(await say('{"ask":"begin","version":99}')).toMatch(
        /^\{"error":"it speaks version 1 .*and the client 99: run/,
      );
      await waitUntil(async () => !/one at a time/.test(String(await say('{}'))), 'it to be free');
      const second = start('sink', 'sink', '0.0.0.0', String(PEER_PORT));
      expect((await second.hear(1))['event']).toMatch(
        /^bench nic --sink 0\.0\.0\.0:47891: the port is taken.*--listen ADDRESS:PORT \(EADDRINUSE\)$/,
      );
      const third = start('sink', 'sink', '0.0.0.0', String(PEER_PORT + 1));
      expect((await third.hear(1))['event']).toMatch(/port 7 of the sink could not begin: .*EADDRINUSE.*another sink/);
      const away = start('sink', 'sink', '192.0.2.1', String(PEER_PORT));
      expect((await away.hear(1))['event']).toMatch(/192\.0\.2\.1:47891: .*EADDRNOTAVAIL/);
      expect(tables(wires)).not.toContain(`-${third.child.pid}-`);
    });
  });

  test('after kill -9 of who asked for it nothing sends on', async () => {
    const owner = spawn(process.execPath, [PROGRAM, 'flood', 'orphans'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const gone = once(owner, 'exit');
    const { value: line } = await createInterface({ input: owner.stdout })[Symbol.asyncIterator]().next();
    const { mark, children } = JSON.parse(line as string) as { mark: string; children: number[] };
    expect(children.length).toBeGreaterThan(0);
    owner.kill('SIGKILL');
    await gone;
    await waitUntil(() => children.every((pid) => identityOf(pid) === null), 'its processes to end');
    expect(await sweepDeadRuns()).toContain(mark);
  });
});
