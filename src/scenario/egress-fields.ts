import { z } from 'zod';
import { name, rate, strict } from './fields.ts';
import type { EgressDesired, EgressRequest } from './scenario.ts';

const UPLINK = { uplink: rate.optional(), overcommit: z.enum(['refuse', 'warn']).optional() };

/** `{ uplink: 1Gbit, overcommit: warn }`: what a host's uplink carries, and what becomes of promises beyond that. */
export const hostEgress = strict(UPLINK);
export type HostEgressWritten = z.infer<typeof hostEgress>;

/** As the engine takes it. */
export const egressDesiredOf = ({ uplink, overcommit }: HostEgressWritten): EgressDesired => ({
  ...(uplink !== undefined && { uplinkBitsPerSec: uplink }),
  ...(overcommit !== undefined && { overcommit }),
});

const RATES = { guarantee: rate.optional(), ceiling: rate.optional(), everywhere: z.boolean().optional() };

const requestOf = ({ guarantee, ceiling, everywhere }: EgressWritten): EgressRequest => ({
  ...(guarantee !== undefined && { guaranteeBitsPerSec: guarantee }),
  ...(ceiling !== undefined && { ceilingBitsPerSec: ceiling }),
  ...(everywhere !== undefined && { everywhere }),
});
interface EgressWritten {
  readonly guarantee?: number | undefined;
  readonly ceiling?: number | undefined;
  readonly everywhere?: boolean | undefined;
}

/** `{ guarantee: 10Mbit, ceiling: 50Mbit }`: what a container may send. */
export const egress = strict(RATES).transform(requestOf);

/** The same for one that runs; without any rate nothing is asked of it any more. */
export const egressChange = strict({ container: name, ...RATES }).transform(({ container, ...written }) => ({
  container,
  ...(Object.values(written).some((each) => each !== undefined) && { egress: requestOf(written) }),
}));
