import { limitLines } from '../../bench/nic/ceiling.ts';
import { calibrate, type Judged } from '../../bench/nic/calibration.ts';
import { cardSite } from '../../bench/nic/card-site.ts';
import { caseName } from '../../bench/nic/costs.ts';
import { type NicEnvironment, readEnvironment } from '../../bench/nic/environment.ts';
import type { Generator, GeneratorName } from '../../bench/nic/generator.ts';
import { pktgen } from '../../bench/nic/generators/pktgen.ts';
import { sendmmsg } from '../../bench/nic/generators/sendmmsg.ts';
import { trafgen } from '../../bench/nic/generators/trafgen.ts';
import { udpSegment } from '../../bench/nic/generators/udp-segment.ts';
import { limitsTable } from '../../bench/nic/limits-table.ts';
import { measureNic, type NicMeasured } from '../../bench/nic/nic.ts';
import {
  type Finding,
  lookForNoise,
  type Noise,
  noiseLines,
  noiseOf,
  type Series,
  watchForNoise,
} from '../../bench/nic/noise.ts';
import { openPeerSink } from '../../bench/nic/peer-sink.ts';
import { serveSink } from '../../bench/nic/peer-server.ts';
import { predictionLines } from '../../bench/nic/predictions.ts';
import { BASELINE, improvements, ratesOf, resultsOf } from '../../bench/nic/results.ts';
import { type NicSite, ownSite } from '../../bench/nic/site.ts';
import { withSinkAddress } from '../../bench/nic/sink-card.ts';
import { packetRateTable } from '../../bench/nic/table.ts';
import { OWN_WIRE } from '../../bench/nic/wire.ts';
import type { Functions, PacketPath } from '../report/packet-paths.ts';
import { checkNicOptions, type NicArguments, numbersOf, placeOf } from './bench-nic-options.ts';
import type { BenchRun, Progress } from './benches.ts';
import { UsageError } from './errors.ts';

/** The seed's own. */
const SIZES = [1, 64, 256];
const RATIOS = [1, 4];
/** As many as a median with a spread needs; of the quick form enough to see that it works. */
const RUNS = 10;
const QUICK_RUNS = 3;
const QUICK_SIZES = [64];
/** What one Ethernet frame of 1500 bytes carries over UDP; a sender's process for each container. */
const SIZE_LIMITS = [1, 1472] as const;
const RATIO_LIMITS = [1, 64] as const;

/** `plimsoll bench nic`. */
export async function nicBench(
  options: NicArguments & { readonly runs: number | undefined; readonly out: string | undefined },
  onProgress: Progress,
  signal: AbortSignal,
): Promise<BenchRun> {
  const { quick, sizes, ratios, runs = quick ? QUICK_RUNS : RUNS } = options;
  const asked = {
    runs,
    sizes: sizes === undefined ? (quick ? QUICK_SIZES : SIZES) : numbersOf('sizes', sizes, SIZE_LIMITS),
    ratios: ratios === undefined ? RATIOS : numbersOf('ratios', ratios, RATIO_LIMITS),
    isQuick: quick,
    generator: GENERATORS[options.generator](),
  };
  checkNicOptions(options, asked.sizes);
  const { site, functions } = await siteOf(options, Math.max(...asked.ratios), signal);
  const headline = headlineOf(functions, site);
  onProgress(`nic: ${headline}`);
  const { environment, before } = await lookAround(site);
  for (const line of noiseLines(noiseOf(before))) onProgress(`nic: ${line}`);
  const noticed = watchForNoise(environment.cpus);
  const measured = await measureNic(site, { ...asked, onProgress, signal });
  if (measured.partial !== undefined && measured.costs.every(({ roundsUs }) => roundsUs.length === 0))
    throw measured.partial;
  const noise = noiseOf([...before, ...noticed(steadiest(measured))]);
  return await reported(measured, site.parts.length > 0, options, functions, {
    functions: headline,
    generator: options.generator,
    ...environment,
    noise,
  });
}

/** The machine as it is before anything is measured. The site is closed where that fails. */
async function lookAround(site: NicSite): Promise<{ environment: NicEnvironment; before: Finding[] }> {
  try {
    const { root: network, containers } = await site.place(site.shown[0]!);
    const link = { namespace: containers[0]!.namespace, name: 'eth0' };
    const environment = await readEnvironment({ network, link, card: site.card });
    return { environment, before: await lookForNoise(environment) };
  } catch (error) {
    await site.close();
    throw error;
  }
}

/** CPU of a packet: what would be the same each time on a machine where nothing else happens. */
const steadiest = ({ costs }: NicMeasured): Series[] =>
  costs.filter(({ roundsUs }) => roundsUs.length > 0).map((each) => ({ name: caseName(each), rounds: each.roundsUs }));

const GENERATORS: Readonly<Record<GeneratorName, () => Generator>> = {
  sendmmsg,
  'udp-segment': udpSegment,
  trafgen,
  pktgen,
};

/** The first line of a run, on the terminal and on paper. */
const HEADLINES: Readonly<Record<Functions, string>> = {
  real: 'SR-IOV by virtual functions of the card',
  emulated:
    'emulated: not a speed. The virtual functions are real to the kernel, their card is software of the virtual machine',
  none: 'no VF here: what stands in for it is "direct (no VF)", which is not SR-IOV',
};

const headlineOf = (functions: Functions, { card }: NicSite): string =>
  functions === 'none' && card !== null
    ? `no VF here: ${card.name} has none, and nothing stands in for one`
    : HEADLINES[functions];

async function siteOf(
  { pf, peer, 'take-down-link': takeDownLink }: NicArguments,
  containers: number,
  signal: AbortSignal,
): Promise<{ site: NicSite; functions: Functions }> {
  if (pf === undefined) {
    if (peer !== undefined) throw new UsageError('--peer: name the card whose wire leads there, too: --pf ens1');
    return { site: ownSite(containers), functions: 'none' };
  }
  if (peer === undefined)
    throw new UsageError(
      `--pf ${pf}: name the other end of its wire, too: --peer ADDRESS, where "plimsoll bench nic --sink --pf IF" runs`,
    );
  const { host, port } = placeOf('peer', peer);
  const sink = await openPeerSink(host, port, signal);
  try {
    const site = await cardSite({ pf, containers, takeDownLink }, sink, OWN_WIRE.sink);
    return { site, functions: site.functions };
  } catch (error) {
    await sink.close();
    throw error;
  }
}

/** `plimsoll bench nic --sink`, until the signal. @throws UsageError, HostError */
export async function nicSink({ pf, listen }: NicArguments, onEvent: Progress, signal: AbortSignal): Promise<void> {
  if (pf === undefined) throw new UsageError('--sink: name the card on which packets come, too: --pf ens1');
  const { host, port } = listen === undefined ? {} : placeOf('listen', listen);
  const where = { ...(host !== undefined && { address: host }), ...(port !== undefined && { port }) };
  await withSinkAddress(pf, () => serveSink({ ...where, onEvent }, signal));
}

async function reported(
  measured: NicMeasured,
  canBeFitted: boolean,
  { calibrate: isAsked, generator }: NicArguments,
  functions: Functions,
  environment: NicEnvironment & { readonly functions: string; readonly generator: string; readonly noise: Noise },
): Promise<BenchRun> {
  const judged = canBeFitted ? await judgedOf(measured, environment) : null;
  return {
    environment,
    results: resultsOf(measured, judged?.fit.errorMax ?? null, functions),
    text: [
      environment.functions,
      '',
      ...packetRateTable(ratesOf(measured), { functions, over: BASELINE }),
      '',
      ...limitLines(measured, functions),
      '',
      ...limitsTable(measured, functions),
      '',
      ...(judged !== null
        ? predictionLines(judged.fit)
        : canBeFitted
          ? ['too little was measured to fit what each part costs']
          : []),
      '',
      ...noiseLines(environment.noise),
      '',
    ].join('\n'),
    files: async () => ({
      ...(await figureFiles(measured, functions, environment.machine, generator)),
      ...(isAsked && judged && { 'calibration.json': `${JSON.stringify(judged.calibration, null, 2)}\n` }),
    }),
    ...(measured.partial && { partial: measured.partial }),
  };
}

/** Null: of an interrupted bench there may be too little. */
async function judgedOf({ costs }: NicMeasured, environment: object): Promise<Judged | null> {
  try {
    return await calibrate(costs, { ...environment });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

async function figureFiles(
  measured: NicMeasured,
  functions: Functions,
  machine: string,
  generator: string,
): Promise<Record<string, string | Uint8Array>> {
  const bars = improvements(measured).map(({ of: { path, containers, payloadBytes }, rounds }) => ({
    path: path.name as PacketPath,
    containers,
    payloadBytes,
    rounds,
  }));
  if (bars.length === 0) return {};
  // What draws takes a third of a second to load, and is needed here alone.
  const { drawPacketRates } = await import('../report/packet-rate-figure.ts');
  const { svg, png } = await drawPacketRates({
    measure: 'packets',
    over: BASELINE,
    functions,
    machine,
    generator,
    bars,
  });
  return { 'nic.svg': svg, 'nic.png': png };
}
