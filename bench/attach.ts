import { join } from 'node:path';
import { execa } from 'execa';
import { monotonicMs } from '../backends/linux/clock.ts';
import type { NetworkSpec } from '../src/network/desired.ts';
import type { DesiredEndpoint } from '../src/engine/desired.ts';
import { Interrupted } from '../src/scenario/run.ts';
import { type AttachHost, openAttachHost, storeFileOf } from './attach-host.ts';
import { type AttachPlace, makeAttachPlace } from './attach-place.ts';
import { insistAnswered, insistGone, type Published } from './attach-proof.ts';
import { watchTimes } from './attach-watch.ts';
import { CNI_NAME, CniChain, type CniContainer, describeCni, hasCni } from './cni.ts';
import { reachTimes } from './reach.ts';
import { type BenchResult, median, result, resultBeside } from './result.ts';

export interface AttachBenchOptions {
  /** The figures are medians over this many rounds. */
  readonly runs: number;
  readonly onProgress?: (what: string) => void;
  /** Ends the bench, which clears up first. */
  readonly signal?: AbortSignal;
}

/** Called between measurements: says how far it is, where there is something to say. @throws Interrupted */
export type GoOn = (what?: string) => void;

export interface AttachBench {
  readonly bench: 'attach';
  readonly environment: object;
  readonly results: readonly BenchResult[];
}

/** Attached already, to ours and to the peer's. */
const OTHERS = 10;
/** One more comes and goes so often in a round, whose figure is the median of them. */
const TIMES = 5;
const THOUSAND = 1000;
/** Of the thousand, asked from outside whether they work. */
const ASKED = 100;

/** A bridge of 1,023 ports, and as many addresses. */
const NETWORK: NetworkSpec = { name: 'bench', kind: 'bridge', pool: '10.88.0.0/20', internal: false, nat: true };
const FIRST_PORT = 20_000;
const CONTAINER_PORT = 7000;
const CEILING_BITS_PER_SEC = 100e6;

/** How long a container waits for its network: one more, a thousand, against the CNI chain; and what the simulated network costs. */
export async function attachBench({ runs, onProgress = () => {}, signal }: AttachBenchOptions): Promise<AttachBench> {
  const goOn: GoOn = (what) => {
    if (signal?.aborted === true) throw new Interrupted('the bench was interrupted');
    if (what !== undefined) onProgress(`attach: ${what}`);
  };
  try {
    const isWithPeer = hasCni();
    if (!isWithPeer)
      onProgress('attach: no CNI plugins here (Debian: containernetworking-plugins): measured without the peer');
    const real = await measureReal(runs, isWithPeer, goOn);
    const watched = await watchTimes(runs, goOn);
    const reached = await reachTimes(runs, goOn);
    return {
      bench: 'attach',
      environment: { ...real.environment, others: OTHERS, timesARound: TIMES, node: process.version },
      results: [
        ...real.results,
        result('attach.watch_ms', 'ms', watched),
        result('attach.reach_million_s', 's', reached),
      ],
    };
  } catch (error) {
    // Whatever a signal cut off on its way has failed because of it.
    if (signal?.aborted === true && !(error instanceof Interrupted))
      throw new Interrupted('the bench was interrupted', { cause: error });
    throw error;
  }
}

interface Measured {
  readonly environment: object;
  readonly results: readonly BenchResult[];
}

async function measureReal(runs: number, isWithPeer: boolean, goOn: GoOn): Promise<Measured> {
  goOn('making the hosts');
  const place = await makeAttachPlace(['ours', 'peer', 'outside']);
  try {
    const root = place.rootOf('ours');
    const storeFile = storeFileOf(root);
    const ours = await openAttachHost({ name: 'ours', root, network: NETWORK, storeFile });
    try {
      const { stdout: storeOn } = await execa('stat', ['-f', '-c', '%T', storeFile]);
      const peerFolder = join(storeFile, '..', 'host-local');
      const one = await measureOne({ place, ours, runs, goOn, peerFolder: isWithPeer ? peerFolder : null });
      return {
        environment: { store: `SQLite on ${storeOn}`, ...(isWithPeer && { peer: await describeCni() }) },
        results: [...one, ...(await measureThousand(place, ours, runs, goOn))],
      };
    } finally {
      await ours.close();
    }
  } finally {
    await place.close();
  }
}

interface OneMore {
  readonly place: AttachPlace;
  readonly ours: AttachHost;
  readonly runs: number;
  readonly goOn: GoOn;
  /** Null: without the peer. */
  readonly peerFolder: string | null;
}

/** What comes and goes, ours or the peer's. */
interface Contestant {
  add(): Promise<void>;
  remove(): Promise<void>;
  /** Between measurements. */
  rest(): Promise<void>;
  readonly published: Published;
  insistGone(): Promise<void>;
}

async function measureOne({ place, ours, runs, goOn, peerFolder }: OneMore): Promise<BenchResult[]> {
  goOn(`${OTHERS} containers come first`);
  const contestants = [
    await oursWithOthers(place, ours),
    ...(peerFolder === null ? [] : [await peerWithOthers(place, peerFolder, goOn)]),
  ];
  for (const [index, each] of contestants.entries()) {
    const what = index === 0 ? 'ours' : CNI_NAME;
    await each.add();
    await insistAnswered(what, ours.host, [each.published], true);
    await each.remove();
    await insistAnswered(what, ours.host, [each.published], false);
    await each.insistGone();
  }
  const adds: number[][] = contestants.map(() => []);
  const removes: number[][] = contestants.map(() => []);
  for (let run = 1; run <= runs; run++) {
    goOn(`one more, round ${run} of ${runs}`);
    const tookMs = contestants.map(() => ({ add: [] as number[], remove: [] as number[] }));
    for (let time = 0; time < TIMES; time++) {
      for (const [index, each] of contestants.entries()) {
        goOn();
        await each.rest();
        tookMs[index]!.add.push(await timed(() => each.add()));
        tookMs[index]!.remove.push(await timed(() => each.remove()));
      }
    }
    for (const each of contestants) await each.insistGone();
    for (const [index, { add, remove }] of tookMs.entries()) {
      adds[index]!.push(median(add));
      removes[index]!.push(median(remove));
    }
  }
  await ours.ask([]);
  const beside = (rounds: number[][]) => ({ name: CNI_NAME, rounds: rounds[1] ?? [] });
  return [
    resultBeside('attach.add_ms', 'ms', adds[0]!, beside(adds)),
    resultBeside('attach.del_ms', 'ms', removes[0]!, beside(removes)),
  ];
}

async function oursWithOthers(place: AttachPlace, ours: AttachHost): Promise<Contestant> {
  const all = await endpointsOf(place, 'c', OTHERS + 1);
  const others = all.slice(0, OTHERS);
  const one = all[OTHERS]!;
  await ours.ask(others);
  return {
    add: () => ours.ask(all),
    remove: () => ours.ask(others),
    rest: () => ours.engine.tick(),
    published: publishedOf(place, one),
    insistGone: () => insistGone(ours.host, NETWORK.name, one),
  };
}

async function peerWithOthers(place: AttachPlace, dataFolder: string, goOn: GoOn): Promise<Contestant> {
  const names = Array.from({ length: OTHERS + 1 }, (_, index) => `p${index}`);
  const namespaces = await place.makeNamespaces(names);
  const all = names.map((id, index): CniContainer => ({
    id,
    namespace: namespaces[index]!,
    hostPort: FIRST_PORT + index,
    containerPort: CONTAINER_PORT,
    ceilingBitsPerSec: CEILING_BITS_PER_SEC,
  }));
  const chain = new CniChain({ hostNamespace: place.namespaceOf('peer'), subnet: NETWORK.pool, dataFolder });
  for (const other of all.slice(0, OTHERS)) {
    goOn();
    await chain.add(other);
  }
  const one = all[OTHERS]!;
  return {
    add: () => chain.add(one),
    remove: () => chain.remove(one),
    rest: () => Promise.resolve(),
    published: { ...one, from: place.namespaceOf('outside'), hostAddress: place.addressOf('peer') },
    insistGone: () => Promise.resolve(),
  };
}

async function measureThousand(place: AttachPlace, ours: AttachHost, runs: number, goOn: GoOn): Promise<BenchResult[]> {
  goOn(`${THOUSAND} network namespaces`);
  const all = await endpointsOf(place, 't', THOUSAND + 1);
  const thousand = all.slice(0, THOUSAND);
  const rounds = { come: [] as number[], add: [] as number[], remove: [] as number[], go: [] as number[] };
  for (let run = 1; run <= runs; run++) {
    goOn(`${THOUSAND} at once, round ${run} of ${runs}`);
    await ours.engine.tick();
    rounds.come.push(await timed(() => ours.ask(thousand)));
    if (run === 1) {
      const asked = thousand.filter((_, index) => index % (THOUSAND / ASKED) === 0);
      await insistAnswered(
        'ours',
        ours.host,
        asked.map((each) => publishedOf(place, each)),
        true,
      );
    }
    await ours.engine.tick();
    rounds.add.push(await timed(() => ours.ask(all)));
    rounds.remove.push(await timed(() => ours.ask(thousand)));
    await ours.engine.tick();
    rounds.go.push(await timed(() => ours.ask([])));
    for (const each of thousand.slice(0, 3)) await insistGone(ours.host, NETWORK.name, each);
  }
  return [
    result('attach.thousand_ms', 'ms', rounds.come),
    result('attach.thousand_del_ms', 'ms', rounds.go),
    result('attach.add_beside_thousand_ms', 'ms', rounds.add),
    result('attach.del_beside_thousand_ms', 'ms', rounds.remove),
  ];
}

async function endpointsOf(place: AttachPlace, letter: string, count: number): Promise<DesiredEndpoint[]> {
  const names = Array.from({ length: count }, (_, index) => `${letter}${index}`);
  const namespaces = await place.makeNamespaces(names);
  return names.map((name, index) => ({
    name,
    namespace: namespaces[index]!,
    egress: { ceilingBitsPerSec: CEILING_BITS_PER_SEC },
    attachments: [
      {
        network: NETWORK.name,
        publish: [{ protocol: 'udp', hostPort: FIRST_PORT + index, containerPort: CONTAINER_PORT }],
      },
    ],
  }));
}

function publishedOf(place: AttachPlace, { namespace, attachments }: DesiredEndpoint): Published {
  const { hostPort, containerPort } = attachments![0]!.publish[0]!;
  return {
    from: place.namespaceOf('outside'),
    hostAddress: place.addressOf('ours'),
    hostPort,
    namespace: namespace!,
    containerPort,
  };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const begunMs = monotonicMs();
  await work();
  return monotonicMs() - begunMs;
}
