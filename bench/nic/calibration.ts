import type { Calibration } from '../../backends/sim/calibration.ts';
import { median } from '../result.ts';
import type { MeasuredCase } from './costs.ts';
import { bytesOf, fitCosts, type Fit, type FitCase } from './fit.ts';
import { hopsOf } from './hops.ts';

/** Which paths are held out is drawn by it; nothing else is. */
const SEED = 1;

/** What a fit is made of and says, case by case. */
export interface Judged {
  readonly fit: Fit;
  readonly calibration: Calibration;
}

/** Fits what each part of a way costs, and judges it by paths that it was not fitted to. @throws RangeError where none can be held out */
export async function calibrate(costs: readonly MeasuredCase[], environment: Record<string, unknown>): Promise<Judged> {
  const measured = costs.filter(({ roundsUs }) => roundsUs.length > 0);
  const hops = new Map(
    await Promise.all(
      [...new Set(measured.map(({ path }) => path))].map(async (path) => [path, await hopsOf(path)] as const),
    ),
  );
  const cases = measured.map(
    ({ path, payloadBytes, containers, roundsUs }): FitCase & { roundsUs: readonly number[] } => ({
      path: path.name,
      payloadBytes,
      containers,
      hops: hops.get(path)!,
      us: median(roundsUs),
      roundsUs,
    }),
  );
  const kernel = typeof environment['kernel'] === 'string' ? `Linux ${environment['kernel']}` : 'this machine';
  const about = `Fitted by "plimsoll bench nic --calibrate" on ${kernel} to paths over veth, with single datagrams by sendmmsg. A wire is a veth, and each of its ends pays for half of it. No VF was measured.`;
  const fit = fitCosts(cases, SEED, about);
  return {
    fit,
    calibration: {
      about,
      environment,
      nsPerHop: { ...fit.costs.nsPerHop, wire: (fit.costs.nsPerHop.veth ?? 0) / 2 },
      nsPerByte: fit.costs.nsPerByte,
      measured: fit.cases.map(({ path, payloadBytes, containers, hops: met, held, predictedUs }, index) => ({
        path,
        payloadBytes,
        containers,
        held,
        hops: { ...met },
        bytes: bytesOf({ payloadBytes }),
        roundsUs: [...cases[index]!.roundsUs],
        predictedUs,
      })),
    },
  };
}
