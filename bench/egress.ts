import type { GoOn } from './attach.ts';
import { measureAccuracy } from './egress-accuracy.ts';
import { measureCost } from './egress-cost.ts';
import { describePeers } from './egress-peers.ts';
import { Interrupted } from '../src/scenario/run.ts';
import type { BenchResult } from './result.ts';

export interface EgressBenchOptions {
  /** The figures are medians over this many rounds. */
  readonly runs: number;
  readonly onProgress?: (what: string) => void;
  /** Ends the bench, which clears up first. */
  readonly signal?: AbortSignal;
}

export interface EgressBench {
  readonly bench: 'egress';
  readonly environment: object;
  readonly results: readonly BenchResult[];
}

/** What shaping costs a packet, however many containers are shaped; how near the limit it keeps them; how fast one more is shaped. */
export async function egressBench({ runs, onProgress = () => {}, signal }: EgressBenchOptions): Promise<EgressBench> {
  const goOn: GoOn = (what) => {
    if (signal?.aborted === true) throw new Interrupted('the bench was interrupted');
    if (what !== undefined) onProgress(`egress: ${what}`);
  };
  try {
    const costs = await measureCost(runs, goOn);
    const accuracy = await measureAccuracy(runs, goOn);
    return {
      bench: 'egress',
      environment: {
        path: 'container, veth, bridge, route, NAT, HTB on a veth',
        cost: 'CPU of the sending thread, interrupts included, over packets that came to the wire, 64 bytes of UDP each',
        peers: await describePeers(),
        node: process.version,
      },
      results: [...costs, ...accuracy],
    };
  } catch (error) {
    // Whatever a signal cut off on its way has failed because of it.
    if (signal?.aborted === true && !(error instanceof Interrupted))
      throw new Interrupted('the bench was interrupted', { cause: error });
    throw error;
  }
}
