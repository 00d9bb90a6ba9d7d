// A process to be killed: streams from one of its namespaces to another, says who does it for it, and stays.
import { readFileSync } from 'node:fs';
import { runMark } from '../../backends/linux/owner.ts';
import { openTestHost } from './linux-host.ts';
import { addEntries, address, attach } from './network.ts';

const host = await openTestHost('streaming');
const fixture = { host, settle: <T>(work: () => Promise<T>): Promise<T> => work() };
await attach(fixture, 'web', 'v0', '10.1.0.5/24');
await addEntries(fixture, [address('', 'v0', '10.1.0.1/24')]);
const receiving = await host.probes.receive([{ namespace: 'web', port: 7007, protocol: 'udp' }]);
await host.probes.stream([{ from: '', to: '10.1.0.5', port: 7007, protocol: 'udp', rateBitsPerSec: 1e6 }]);
while ((await receiving.wireBytes())[0] === 0);
const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number);
process.stdout.write(`${JSON.stringify({ mark: runMark('streaming'), children })}\n`);
setInterval(() => {}, 60_000);
