import type { Functions, PacketPath } from '../../src/report/packet-paths.ts';
import { pathLabel } from '../../src/report/packet-paths.ts';
import { median } from '../result.ts';
import { caseName, type NicCase } from './costs.ts';
import { type FullRate, measureFullRate } from './full-rate.ts';
import { udpSegment } from './generators/udp-segment.ts';
import type { Measured, NicMeasured } from './nic.ts';
import type { NicSite } from './site.ts';

/** What is nearer to the fastest than this cannot be told from it. */
const APART = 0.9;

/**
 * What the fastest of the paths passes where datagrams are sent thirty-two a message, which spares the sender most of its own
 * work: if that is more, it was the sender that held it back before. Nothing where such messages cannot be sent here.
 */
export async function measureCeilings(
  site: NicSite,
  cases: readonly NicCase[],
  forMs: number,
): Promise<Measured<FullRate>[]> {
  const generator = udpSegment();
  try {
    const found: Measured<FullRate>[] = [];
    for (const of of cases.filter(({ path, containers }) => path === site.shown[0] && containers === 1)) {
      const place = await site.place(of.path);
      if ((await generator.whyNot(place)) !== null) return found;
      found.push({ of, is: await measureFullRate(place, of, generator, forMs) });
    }
    return found;
  } finally {
    await generator.close();
  }
}

/** Whether the path or the sender is what limits each rate, in words. */
export function limitLines({ full, ceilings }: NicMeasured, functions: Functions): string[] {
  const fastest = ceilings[0]?.of.path;
  if (fastest === undefined)
    return full.length === 0 ? [] : ['whether a path or its sender limits its rate was not measured'];
  const rateOf = ({ is }: Measured<readonly FullRate[]>): number =>
    median(is.map(({ packetsPerSec }) => packetsPerSec));
  const label = (path: string): string => pathLabel(path as PacketPath, functions);
  const rest = new Map<string, boolean>();
  for (const each of full.filter(({ is }) => is.length > 0)) {
    const shape = caseName({ ...each.of, path: fastest });
    const best = full.find((other) => caseName(other.of) === shape);
    if (each.of.path === fastest || best === undefined || best.is.length === 0) continue;
    const name = label(each.of.path.name);
    rest.set(name, (rest.get(name) ?? true) && rateOf(each) < APART * rateOf(best));
  }
  const of = (isPath: boolean): string => [...rest].flatMap(([name, is]) => (is === isPath ? [name] : [])).join(', ');
  return [
    ...ceilings.map(({ of: one, is }) => {
      const own = full.find((each) => caseName(each.of) === caseName(one));
      const times = own === undefined || own.is.length === 0 ? null : is.packetsPerSec / rateOf(own);
      const verdict =
        times === null ? 'unknown' : times * APART > 1 ? 'the sender is the limit' : 'the path is the limit';
      return `${label(one.path.name)}, ${one.payloadBytes} B: ${verdict}: in messages of 32 datagrams it passes ${times?.toFixed(1) ?? '?'} times as many`;
    }),
    ...(of(true) === '' ? [] : [`the path is the limit: ${of(true)}`]),
    ...(of(false) === '' ? [] : [`not told from the sender's own limit: ${of(false)}`]),
  ];
}
