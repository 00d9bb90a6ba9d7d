import { z } from 'zod';
import { type Hop, HOPS, type PacketCosts } from './packet-costs.ts';
import shipped from './calibrations/shipped.json' with { type: 'json' };

const count = z.number().nonnegative();
const eachHop = <T extends z.ZodType>(value: T) =>
  z.strictObject(Object.fromEntries(HOPS.map((hop) => [hop, value])) as Record<Hop, T>);

/** A calibration as a file keeps it: the costs, and the ways that were measured for them. */
export const calibrationSchema = z.strictObject({
  about: z.string().min(1),
  /** The machine and kernel that were measured. */
  environment: z.record(z.string(), z.unknown()),
  nsPerHop: eachHop(count.nullable()),
  nsPerByte: count,
  measured: z.array(
    z.strictObject({
      path: z.string(),
      payloadBytes: count,
      containers: z.int().min(1),
      /** Was it kept from the fit, to be judged by? */
      held: z.boolean(),
      hops: eachHop(count),
      bytes: count,
      roundsUs: z.array(count),
      predictedUs: count,
    }),
  ),
});
export type Calibration = z.infer<typeof calibrationSchema>;

/** What packets cost unless a simulation is given something else. */
export const SHIPPED_COSTS: PacketCosts = calibrationSchema.parse(shipped);
