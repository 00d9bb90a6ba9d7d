// Generated containers with limits on what they send, and whether what keeps them on a host fits together.
import type { Desired, DesiredEndpoint } from '../../src/engine/desired.ts';
import { MARKS } from '../../src/egress/picture.ts';
import type { Host } from '../../src/host/host.ts';
import { minorOf, type ShaperObject } from '../../src/host/shaper.ts';
import type { NetworkSpec } from '../../src/network/desired.ts';

const MBIT = 1_000_000;
const UPLINK_MBIT = 1000;
const UPLINK = 'eth0';

/** Classes of the whole uplink and of what nobody marked. */
const COMMON_CLASSES = 2;

/** So many rounds differ. */
const ROUNDS = 7;

/** Most of the containers limited, each otherwise than another, and otherwise in another round. */
export function shaped(desired: Desired, round: number): Desired {
  const specs = new Map(desired.network?.networks.map((spec) => [spec.name, spec]));
  return {
    ...desired,
    egress: { uplinkBitsPerSec: UPLINK_MBIT * MBIT },
    endpoints:
      desired.endpoints?.map((each) => limited(each, Number(each.name.slice(1)) + (round % ROUNDS), specs)) ?? [],
  };
}

function limited(endpoint: DesiredEndpoint, number: number, specs: ReadonlyMap<string, NetworkSpec>): DesiredEndpoint {
  const ceilingBitsPerSec = (100 + 10 * number) * MBIT;
  const guaranteeBitsPerSec = (10 + number) * MBIT;
  const passesBy = endpoint.attachments!.every(({ network }) => specs.get(network)!.by === 'macvlan');
  const choices: DesiredEndpoint['egress'][] = [
    { ceilingBitsPerSec },
    passesBy ? { ceilingBitsPerSec } : { ceilingBitsPerSec, guaranteeBitsPerSec },
    { ceilingBitsPerSec, everywhere: true },
    passesBy ? undefined : { guaranteeBitsPerSec },
    undefined,
  ];
  const egress = endpoint.attachments!.length === 0 ? undefined : choices[number % choices.length];
  return egress === undefined ? endpoint : { ...endpoint, egress };
}

/** How many containers have a class of the uplink. @returns what does not fit: a mark without its class, or a class that nothing is marked for */
export async function classesOn(host: Host): Promise<{ readonly count: number; readonly broken: readonly string[] }> {
  const { elements } = await host.firewall.read();
  const marked = new Set(elements.flatMap(({ set, value }) => (set === MARKS ? [minorOf(value!)!] : [])));
  const { objects } = await host.shaper.list([{ namespace: '', name: UPLINK }]);
  const classes = new Set(objects.flatMap((object) => (object.kind === 'class' ? [object.minor] : [])));
  return {
    count: marked.size,
    broken: [
      ...[...marked].filter((minor) => !classes.has(minor)).map((minor) => `${minor} is marked and has no class`),
      ...(classes.size === (marked.size === 0 ? 0 : marked.size + COMMON_CLASSES)
        ? []
        : [`${classes.size} classes for ${marked.size} marks`]),
    ],
  };
}

/** What tc has of Plimsoll's on a host. */
export async function shapingOn(host: Host): Promise<readonly ShaperObject[]> {
  return (await host.shaper.list(await host.links.list(['', ...(await host.namespaces.list())]))).objects;
}
