import * as z from 'zod';
import { firstHop, toolWithin } from '../first-hop.ts';
import type { Flood, FloodPlace, Generating, Generator } from '../generator.ts';
import type { PathContainer } from '../picture.ts';
import { Senders } from './processes.ts';

/** Of a message the kernel makes so many datagrams (UDP_SEGMENT, udp(7)). */
const SEGMENTS = 32;
/** The most that IPv4 carries in UDP. */
const MESSAGE_BYTES_MAX = 65_507;

/** How many of this size a message holds. */
const segmentsOf = (payloadBytes: number): number => Math.min(SEGMENTS, Math.floor(MESSAGE_BYTES_MAX / payloadBytes));

/**
 * Messages that the kernel cuts into datagrams where they leave the container: the system call, and the way to the link, are
 * paid for once for all of them. A link that took them whole would make one packet of them to all that follows.
 */
export function udpSegment(): Generator {
  const senders = new Senders('udp-segment');
  return {
    name: 'udp-segment',
    payloadBytesMin: 1,
    whyNot: async (place) => {
      try {
        for (const back of await cutAtLinks(place, place.containers)) await back();
        return null;
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    },
    start: (place, flood) => startSegmenting(senders, place, flood),
    close: () => senders.close(),
  };
}

async function startSegmenting(senders: Senders, place: FloodPlace, flood: Flood): Promise<Generating> {
  const backs = await cutAtLinks(place, flood.containers);
  const restore = async (): Promise<void> => {
    for (const back of backs) await back();
  };
  try {
    const generating = await senders.start(place, flood, segmentsOf(flood.payloadBytes));
    return {
      ...generating,
      stop: async () => {
        try {
          return await generating.stop();
        } finally {
          await restore();
        }
      },
    };
  } catch (error) {
    await restore();
    throw error;
  }
}

const Links = z.tuple([z.object({ gso_max_segs: z.number() })]);

/**
 * Has messages cut before they leave: a link that takes one segment at most (gso_features_check in net/core/dev.c) takes none
 * whole, of whatever kind it is; `tx-udp-segmentation` is not to be switched off at a macvlan. @returns what undoes it for each
 */
async function cutAtLinks(
  { root }: FloodPlace,
  containers: readonly PathContainer[],
): Promise<(() => Promise<void>)[]> {
  const backs: (() => Promise<void>)[] = [];
  try {
    for (const container of containers) {
      const { namespace } = container;
      const { link } = await firstHop({ root }, container);
      const ip = (...words: readonly string[]): Promise<string> => toolWithin(root, namespace, 'ip', words);
      const setMost = (segments: number): Promise<string> =>
        ip('link', 'set', 'dev', link, 'gso_max_segs', String(segments));
      const most = Links.parse(JSON.parse(await ip('-d', '-j', 'link', 'show', 'dev', link)))[0].gso_max_segs;
      await setMost(1);
      backs.push(async () => void (await setMost(most)));
    }
    return backs;
  } catch (error) {
    for (const back of backs) await back();
    throw error;
  }
}
