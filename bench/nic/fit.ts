import { fcnnls } from 'ml-fcnnls';
import { Matrix, pseudoInverse, SVD } from 'ml-matrix';
import { costNs, type Hop, type HopCounts, HOPS, type PacketCosts } from '../../backends/sim/packet-costs.ts';
import { HEADER_BYTES } from '../../backends/sim/packet.ts';
import { createRandom } from '../../src/host/random.ts';

/** What was measured of one path, size and ratio, and what a packet meets there. */
export interface FitCase {
  readonly path: string;
  readonly payloadBytes: number;
  readonly containers: number;
  readonly hops: HopCounts;
  /** Microseconds of CPU of one packet. */
  readonly us: number;
}

/** As `FitCase`, and what the fit says of it. */
export interface JudgedCase extends FitCase {
  /** Was it kept from the fit, to judge it by? */
  readonly held: boolean;
  readonly predictedUs: number;
}

export interface Fit {
  readonly costs: PacketCosts;
  readonly cases: readonly JudgedCase[];
  /** The largest error of those held out, as a share of what was measured. */
  readonly errorMax: number;
}

/** So many of the paths are held out whole. */
const PATHS_HELD = 1 / 4;

/**
 * Finds what each part of a way costs from some of the cases, and judges it by the others: a quarter of the paths, and of the
 * rest one size and one ratio where there are several, all chosen by seed. @throws RangeError where nothing can be held out
 */
export function fitCosts(cases: readonly FitCase[], seed: number, about: string): Fit {
  const held = holdOut(cases, seed);
  const nsPerHop = solve(cases.filter((each) => !held.has(each)));
  const costs = { ...nsPerHop, about };
  const judged = cases.map((each) => ({
    ...each,
    held: held.has(each),
    predictedUs: costNs(each.hops, bytesOf(each), costs) / 1000,
  }));
  const errors = judged.filter((each) => each.held).map(({ us, predictedUs }) => Math.abs(predictedUs - us) / us);
  if (errors.length === 0) throw new RangeError('no path could be held out: there are too few that differ');
  return { costs, cases: judged, errorMax: Math.max(...errors) };
}

/** Of the IP packet that its sender copies. */
export const bytesOf = ({ payloadBytes }: Pick<FitCase, 'payloadBytes'>): number => payloadBytes + HEADER_BYTES;

/** What is not fitted. */
function holdOut(cases: readonly FitCase[], seed: number): ReadonlySet<FitCase> {
  const random = createRandom(seed);
  const paths = new Map(cases.map(({ path, hops }) => [path, hops]));
  const drawn = shuffled([...paths.keys()], random);
  const heldPaths = new Set<string>();
  const most = Math.round(paths.size * PATHS_HELD);
  for (const path of drawn) {
    if (heldPaths.size === most) break;
    const rest = [...paths].filter(([name]) => name !== path && !heldPaths.has(name)).map(([, hops]) => rowOf(hops));
    if (isToldBy(rest, rowOf(paths.get(path)!))) heldPaths.add(path);
  }
  const size = oneOf([...new Set(cases.map(({ payloadBytes }) => payloadBytes))], 3, random);
  const ratio = oneOf([...new Set(cases.map(({ containers }) => containers))], 2, random);
  return new Set(
    cases.filter(
      ({ path, payloadBytes, containers }) => heldPaths.has(path) || payloadBytes === size || containers === ratio,
    ),
  );
}

type Random = ReturnType<typeof createRandom>;

/** One of them, where there are enough that the rest still tells something. */
const oneOf = (values: readonly number[], enough: number, random: Random): number | null =>
  values.length < enough ? null : shuffled(values, random)[0]!;

function shuffled<T>(values: readonly T[], random: Random): T[] {
  const left = [...values];
  return values.map(() => left.splice(random.integer(0, left.length - 1), 1)[0]!);
}

const rowOf = (hops: HopCounts): number[] => HOPS.map((hop) => hops[hop]);

/**
 * Can a path be held out, because the others tell what each part of it costs? They do where its parts are in no combination
 * that theirs are not (rank), and where what they tell of it is no less sure than one measurement of it would be (its
 * leverage, x (X'X)^-1 x').
 */
function isToldBy(rest: readonly number[][], path: readonly number[]): boolean {
  if (rest.length === 0 || rank([...rest, [...path]]) > rank(rest)) return false;
  const others = new Matrix(rest.map((each) => [...each]));
  const row = Matrix.rowVector([...path]);
  return (
    row
      .mmul(pseudoInverse(others.transpose().mmul(others)))
      .mmul(row.transpose())
      .get(0, 0) <= 1
  );
}

const rank = (rows: readonly number[][]): number =>
  rows.length === 0 ? 0 : new SVD(new Matrix(rows.map((each) => [...each])), { autoTranspose: true }).rank;

/** Least squares of the relative errors, no cost below nothing; what no case meets stays unknown. */
function solve(cases: readonly FitCase[]): Pick<PacketCosts, 'nsPerHop' | 'nsPerByte'> {
  const met = HOPS.filter((hop) => cases.some(({ hops }) => hops[hop] > 0));
  const rows = cases.map((each) => [...met.map((hop) => each.hops[hop]), bytesOf(each)].map((n) => n / each.us));
  const { K } = fcnnls(
    rows,
    cases.map(() => [1]),
  );
  const us = K.getColumn(0);
  const found = new Map(met.map((hop, index) => [hop, us[index]! * 1000]));
  return {
    nsPerHop: Object.fromEntries(HOPS.map((hop) => [hop, found.get(hop) ?? null])) as Record<Hop, number | null>,
    nsPerByte: us.at(-1)! * 1000,
  };
}
