import type { Functions, PacketPath } from '../../src/report/packet-paths.ts';
import { type BenchResult, median, result } from '../result.ts';
import type { MeasuredCase, NicCase } from './costs.ts';
import type { NicMeasured } from './nic.ts';
import type { PacketRate } from './table.ts';

/** The NAT that others are compared with: what a container has by default. */
export const BASELINE = 'docker-nat' satisfies PacketPath;

/** `1x64`: one container, 64 bytes of payload each packet. */
const shapeOf = ({ containers, payloadBytes }: NicCase): string => `${containers}x${payloadBytes}`;
const idOf = (of: NicCase, what: string): string => `nic.${of.path.name.replaceAll('-', '_')}_${what}_${shapeOf(of)}`;

/** Every figure of the paths that people choose between, and how they compare. */
export function resultsOf(measured: NicMeasured, errorMax: number | null, functions: Functions): BenchResult[] {
  const { costs, full, ceilings, frames, latencies, transactions } = measured;
  const shown = new Set(full.map(({ of }) => of.path.name));
  return [
    ...comparedCosts(costs),
    ...(errorMax === null ? [] : [result('nic.prediction_error_max', 'of what was measured', [errorMax])]),
    ...costs
      .filter(({ path, roundsUs }) => (shown.size === 0 || shown.has(path.name)) && roundsUs.length > 0)
      .map((of) => result(idOf(of, 'cpu_us'), 'us', of.roundsUs)),
    ...full
      .filter(({ is }) => is.length > 0)
      .flatMap(({ of, is }) => [
        result(
          idOf(of, 'pps'),
          'packets/s',
          is.map(({ packetsPerSec }) => packetsPerSec),
        ),
        result(
          idOf(of, 'sender_us'),
          'us',
          is.map(({ senderUs }) => senderUs),
        ),
        result(
          idOf(of, 'host_us'),
          'us',
          is.map(({ hostUs }) => hostUs),
        ),
      ]),
    ...comparedRates(measured, functions),
    ...ceilings.map(({ of, is }) => result(idOf(of, 'segmented_pps'), 'packets/s', [is.packetsPerSec])),
    ...frames.flatMap(({ of, is: { ndr, pdr } }) => [
      result(idOf(of, 'ndr_pps'), 'packets/s', [ndr.packetsPerSec]),
      result(idOf(of, 'pdr_pps'), 'packets/s', [pdr.packetsPerSec]),
    ]),
    ...latencies
      .filter(({ is }) => is.taken.count > 0)
      .flatMap(({ of, is: { load, taken } }) =>
        ([0.5, 0.9, 0.99] as const).map((share) =>
          result(`${idOf(of, 'latency_us')}_at_${load * 100}_p${share * 100}`, 'us', [
            taken.latencies.percentileUs(share),
          ]),
        ),
      ),
    ...latencies.map(({ of, is: { load, taken } }) =>
      result(`${idOf(of, 'latency_lost')}_at_${load * 100}`, 'of what was asked', [
        taken.lost / (taken.count + taken.lost || 1),
      ]),
    ),
    ...transactions.map(({ of, is: { protocol, taken } }) =>
      result(idOf(of, `${protocol}_rr`), 'transactions/s', [taken.perSec]),
    ),
  ];
}

/** CPU of a packet by each NAT over that of one sent straight to the wire: of each round the median over sizes and ratios. */
function comparedCosts(costs: readonly MeasuredCase[]): BenchResult[] {
  return [
    { id: 'nic.nat_over_direct_cpu', path: BASELINE },
    { id: 'nic.plimsoll_nat_over_direct_cpu', path: 'nat' },
  ].flatMap(({ id, path }) => {
    const pairs = costs
      .filter((each) => each.path.name === path)
      .flatMap((each) => {
        const direct = costs.find((other) => other.path.name === 'direct' && shapeOf(other) === shapeOf(each));
        return direct === undefined ? [] : [{ each, direct }];
      });
    // Of an interrupted bench some have a round more than others.
    const count = Math.min(...pairs.flatMap(({ each, direct }) => [each.roundsUs.length, direct.roundsUs.length]));
    const rounds = Array.from({ length: pairs.length === 0 ? 0 : count }, (_, round) =>
      median(pairs.map(({ each, direct }) => each.roundsUs[round]! / direct.roundsUs[round]!)),
    );
    return rounds.length === 0 ? [] : [result(id, 'of the CPU a packet', rounds)];
  });
}

/** How many times the packets of NAT each other path passes. A VF that is emulated has no speed to compare. */
function comparedRates({ full }: NicMeasured, functions: Functions): BenchResult[] {
  return improvements({ full }).map(({ of, rounds }) => {
    const name = of.path.name !== 'vf' ? null : functions === 'real' ? 'sriov' : 'emulated_vf';
    return result(
      name === null ? idOf(of, 'over_nat_pps') : `nic.${name}_over_nat_pps_${shapeOf(of)}`,
      'times the packets',
      rounds,
    );
  });
}

/** The improvement over the baseline in each round. */
export function improvements({ full }: Pick<NicMeasured, 'full'>): { of: NicCase; rounds: number[] }[] {
  return full
    .filter(({ of }) => of.path.name !== BASELINE)
    .flatMap(({ of, is }) => {
      const base = full.find((other) => other.of.path.name === BASELINE && shapeOf(other.of) === shapeOf(of));
      const rounds = is.flatMap(({ packetsPerSec }, round) => {
        const against = base?.is[round];
        return against === undefined ? [] : [packetsPerSec / against.packetsPerSec];
      });
      return rounds.length === 0 ? [] : [{ of, rounds }];
    });
}

/** What a table shows: medians. */
export function ratesOf({ costs, full }: NicMeasured): PacketRate[] {
  const times = improvements({ full });
  const medianOf = (rounds: readonly number[]): number | null => (rounds.length === 0 ? null : median(rounds));
  return full.map(({ of, is }) => ({
    path: of.path.name as PacketPath,
    containers: of.containers,
    payloadBytes: of.payloadBytes,
    packetsPerSec: medianOf(is.map(({ packetsPerSec }) => packetsPerSec)),
    overNat:
      of.path.name === BASELINE
        ? 1
        : medianOf(times.find((each) => each.of.path === of.path && shapeOf(each.of) === shapeOf(of))?.rounds ?? []),
    wayUs: medianOf(costs.find((each) => each.path === of.path && shapeOf(each) === shapeOf(of))?.roundsUs ?? []),
    hostUs: medianOf(is.map(({ hostUs }) => hostUs)),
  }));
}
