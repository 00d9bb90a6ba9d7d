import { setTimeout } from 'node:timers/promises';
import { monotonicMs } from '../backends/linux/clock.ts';
import type { Observation } from '../src/engine/observation.ts';
import type { NetworkSpec } from '../src/network/desired.ts';
import type { PlacedContainer } from '../src/network/resolve.ts';
import { type AttachHost, openAttachHost, storeFileOf } from './attach-host.ts';
import type { GoOn } from './attach.ts';
import { makeAttachPlace } from './attach-place.ts';
import { median } from './result.ts';

const NETWORK: NetworkSpec = { name: 'tenant', kind: 'overlay', pool: '10.89.0.0/24', internal: false, nat: false };
/** One more comes and goes so often in a round, whose figure is the median of them. */
const TIMES = 5;
/** How far apart the looks of one process at a store in a file are. */
const LOOK_MS = 20;
/** Whoever has not followed by then does not. */
const FOLLOWED_WITHIN_MS = 5000;

/**
 * How long after one host has taken an address for a new container another host of its overlay knows the way there: two
 * hosts on this machine, in one process, with one store in a file, which is looked at 50 times a second.
 */
export async function watchTimes(runs: number, goOn: GoOn): Promise<number[]> {
  goOn('two hosts of one overlay');
  const place = await makeAttachPlace(['first', 'second']);
  const watching = new AbortController();
  const open: AttachHost[] = [];
  const watches: Promise<void>[] = [];
  try {
    const storeFile = storeFileOf(place.rootOf('first'));
    const moments = new Moments();
    for (const name of ['first', 'second']) {
      const sink = name === 'first' ? moments.take : moments.follow;
      open.push(await openAttachHost({ name, root: place.rootOf(name), network: NETWORK, storeFile, sink }));
    }
    const [first, second] = open as [AttachHost, AttachHost];
    const names = ['a', 'b', 'c'];
    const files = await place.makeNamespaces(names);
    const [resident, comer, neighbour] = names.map((name, index): PlacedContainer => ({
      name,
      namespace: files[index]!,
      attachments: [{ network: NETWORK.name, publish: [] }],
    })) as [PlacedContainer, PlacedContainer, PlacedContainer];
    await first.ask([resident]);
    await second.ask([neighbour]);
    for (const { engine } of open) watches.push(engine.watch(watching.signal));
    const rounds: number[] = [];
    for (let run = 1; run <= runs; run++) {
      goOn(`two hosts, round ${run} of ${runs}`);
      const tookMs: number[] = [];
      for (let time = 0; time < TIMES; time++) {
        // At all moments between two looks at the store, not always at the same.
        await setTimeout((time * LOOK_MS) / TIMES);
        const followed = moments.next('routing.add');
        await first.ask([resident, comer]);
        tookMs.push(await orGiveUp(followed));
        // An address that comes back before it was missed is nothing new to the second.
        const missed = moments.next('routing.remove');
        await first.ask([resident]);
        await orGiveUp(missed);
      }
      rounds.push(median(tookMs));
    }
    return rounds;
  } finally {
    watching.abort();
    await Promise.allSettled(watches);
    for (const host of open) await host.close();
    await place.close();
  }
}

/** When the first host took an address, and when the second had the way to it, and had it no more. */
class Moments {
  #takenMs = 0;
  #mac = '';
  #resolve: (tookMs: number) => void = () => {};
  #wanted: 'routing.add' | 'routing.remove' = 'routing.add';

  /** The next time that the second host adds, or removes, the way. */
  next(wanted: 'routing.add' | 'routing.remove'): Promise<number> {
    this.#wanted = wanted;
    return new Promise((resolve) => (this.#resolve = resolve));
  }

  readonly take = (seen: Observation): void => {
    if (seen.kind !== 'address' || !seen.taken) return;
    this.#takenMs = monotonicMs();
    this.#mac = seen.mac;
  };

  readonly follow = (seen: Observation): void => {
    if (seen.kind !== 'step' || seen.verb !== this.#wanted || seen.error !== undefined) return;
    if (seen.target.startsWith(`fdb ${this.#mac} `) && seen.target.includes(' dst '))
      this.#resolve(monotonicMs() - this.#takenMs);
  };
}

async function orGiveUp(followed: Promise<number>): Promise<number> {
  const patience = new AbortController();
  const late = setTimeout(FOLLOWED_WITHIN_MS, null, { signal: patience.signal });
  late.catch(() => undefined);
  const tookMs = await Promise.race([followed, late]);
  patience.abort();
  if (tookMs === null) throw new Error(`the second host has not followed the first within ${FOLLOWED_WITHIN_MS} ms`);
  return tookMs;
}
