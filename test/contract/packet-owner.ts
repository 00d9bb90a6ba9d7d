// A process to be killed, in a network namespace: `flood NAME` sends and says who does it for it; `sink ADDRESS PORT` is the
// other end of `--peer` and tells what happens; `client` does what the lines of its input say, and answers each with a line.
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { sendmmsg } from '../../bench/nic/generators/sendmmsg.ts';
import { trafgen } from '../../bench/nic/generators/trafgen.ts';
import { serveSink } from '../../bench/nic/peer-server.ts';
import { openPeerSink, type PeerSink } from '../../bench/nic/peer-sink.ts';
import { openSink } from '../../bench/nic/sink.ts';
import { layWires } from './packet-place.ts';

const tell = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
const [role, ...words] = process.argv.slice(2);

if (role === 'flood') {
  const wires = await layWires(words[0]!, 1);
  const place = { ...wires, sink: await openSink(wires.root, 'sink') };
  const generators = [sendmmsg(), trafgen()];
  const going = [];
  for (const generator of generators)
    if ((await generator.whyNot(place)) === null)
      going.push(await generator.start(place, { containers: place.containers, payloadBytes: 64, packetsPerSec: 1000 }));
  // They take their time to begin.
  for (const generating of going) {
    const begunUs = generating.cpuUs();
    while (generating.cpuUs() < begunUs + 20_000) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  tell({ mark: wires.root.mark, children: childrenOf(process.pid) });
  setInterval(() => {}, 60_000);
} else if (role === 'sink') {
  const stop = new AbortController();
  process.on('SIGINT', () => stop.abort());
  try {
    await serveSink(
      {
        address: words[0]!,
        port: Number(words[1]),
        onEvent: (event) => tell({ event }),
      },
      stop.signal,
    );
    tell({ event: 'ended' });
  } catch (error) {
    tell({ event: error instanceof Error ? error.message : String(error) });
  }
} else {
  let sink: PeerSink | undefined;
  const act = async ([verb, host, port, text]: string[]): Promise<object> => {
    if (verb === 'open') {
      sink = await openPeerSink(host!, Number(port), new AbortController().signal);
      return { open: true };
    }
    if (verb === 'counts') return await sink!.counts();
    if (verb === 'close') {
      await sink!.close();
      return {};
    }
    return await new Promise((resolve, reject) => {
      const socket = connect({ host: host!, port: Number(port) }, () => socket.write(`${text}\n`));
      socket.once('data', (answer: Buffer) => resolve({ answer: answer.toString() })).once('error', reject);
    });
  };
  for await (const line of createInterface({ input: process.stdin }))
    tell(await act(JSON.parse(line) as string[]).catch((error: unknown) => ({ error: String(error) })));
}

/** All below a process, and not the process itself. */
function childrenOf(pid: number): number[] {
  const own = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return own.flatMap((child) => [child, ...childrenOf(child)]);
}
