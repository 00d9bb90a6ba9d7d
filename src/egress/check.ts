import type { ForeignQdisc } from '../host/shaper.ts';
import { type EgressDesired, EgressError } from './desired.ts';
import type { ShapedContainer } from './picture.ts';

/**
 * Can what is asked be kept? `foreign` are qdiscs that somebody else laid on the host's links. Returns what is doubtful and
 * was to be told only. @throws EgressError
 */
export function checkEgress(
  containers: readonly ShapedContainer[],
  uplink: string | null,
  { uplinkBitsPerSec, overcommit = 'refuse' }: EgressDesired,
  foreign: readonly ForeignQdisc[],
): string[] {
  for (const container of containers) checkContainer(container, uplink, uplinkBitsPerSec);
  const inTheWay = foreign.find(({ namespace, name }) => namespace === '' && name === uplink);
  if (inTheWay !== undefined && containers.some(({ ports }) => ports.length > 0))
    throw new EgressError(
      `uplink ${inTheWay.name}`,
      `it has a qdisc of somebody else, ${inTheWay.type} ${inTheWay.handle}, which is left alone: ask for no egress limits, or remove it (tc qdisc delete dev ${inTheWay.name} root)`,
    );
  checkCards(containers);
  const sum = containers.reduce(
    (total, { egress, ports }) => total + (ports.length > 0 ? (egress.guaranteeBitsPerSec ?? 0) : 0),
    0,
  );
  if (uplinkBitsPerSec === undefined || sum <= uplinkBitsPerSec) return [];
  const message = `guarantees add up to ${mbit(sum)}, and it carries ${mbit(uplinkBitsPerSec)}: lower some`;
  if (overcommit === 'refuse')
    throw new EgressError(
      `uplink ${uplink ?? ''}`,
      `${message}, or set overcommit: warn, which keeps them in proportion`,
    );
  return [`uplink ${uplink ?? ''}: ${message}`];
}

/** Can an uplink carry that? @throws EgressError */
export function checkUplink({ uplinkBitsPerSec }: EgressDesired): void {
  if (uplinkBitsPerSec !== undefined) checkRate('uplink', 'its rate', uplinkBitsPerSec);
}

/** The VFs of a card share its wire. */
function checkCards(containers: readonly ShapedContainer[]): void {
  const sums = new Map<string, number>();
  for (const { name, egress, functions } of containers)
    for (const { card, wireBitsPerSec } of functions) {
      const sum = (sums.get(card) ?? 0) + (egress.guaranteeBitsPerSec ?? 0);
      sums.set(card, sum);
      if (wireBitsPerSec !== null && sum > wireBitsPerSec)
        throw new EgressError(
          name,
          `with it guarantees by VFs of ${card} add up to ${mbit(sum)}, and its wire carries ${mbit(wireBitsPerSec)}: lower some`,
        );
    }
}

function checkContainer(
  { name, egress, ports, within, functions }: ShapedContainer,
  uplink: string | null,
  uplinkBitsPerSec: number | undefined,
): void {
  const { guaranteeBitsPerSec: guarantee, ceilingBitsPerSec: ceiling, everywhere } = egress;
  if (guarantee !== undefined) checkRate(name, 'its guarantee', guarantee);
  if (ceiling !== undefined) checkRate(name, 'its ceiling', ceiling);
  if (guarantee !== undefined && ceiling !== undefined && guarantee > ceiling)
    throw new EgressError(
      name,
      `its guarantee of ${mbit(guarantee)} is above its ceiling of ${mbit(ceiling)}: raise the one or lower the other`,
    );
  if (guarantee === undefined && ceiling === undefined)
    throw new EgressError(name, 'egress asks for nothing: set guarantee, ceiling or both');
  if (everywhere === true && ceiling === undefined)
    throw new EgressError(name, 'everywhere is for a ceiling, and none is set');
  if (ports.length + within.length + functions.length === 0)
    throw new EgressError(name, 'it has no network of its own, so its packets are the host’s: attach it to one first');
  if (ports.length > 0 && uplink === null)
    throw new EgressError(name, 'the host has no uplink whose egress could be shaped: name it, uplink: eth0');
  if (guarantee !== undefined && ports.length > 0 && uplinkBitsPerSec === undefined)
    throw new EgressError(
      name,
      'a guarantee is a share of the uplink, whose rate nobody told: set egress: { uplink: 1Gbit }',
    );
  for (const { name: vf, refusal, wireBitsPerSec } of functions) {
    if (refusal !== null) throw new EgressError(name, `its ${vf} cannot keep that: ${refusal}`);
    const rate = Math.max(guarantee ?? 0, ceiling ?? 0);
    if (wireBitsPerSec !== null && rate > wireBitsPerSec)
      throw new EgressError(name, `${mbit(rate)} is above what the wire of its ${vf} carries, ${mbit(wireBitsPerSec)}`);
  }
  if (guarantee !== undefined && within.length > 0 && ports.length === 0)
    throw new EgressError(
      name,
      'its packets pass the host’s own shaping by, and its interface cannot guarantee: set a ceiling alone',
    );
  for (const rate of [guarantee, ceiling])
    if (rate !== undefined && uplinkBitsPerSec !== undefined && rate > uplinkBitsPerSec && ports.length > 0)
      throw new EgressError(name, `${mbit(rate)} is above what the uplink carries, ${mbit(uplinkBitsPerSec)}`);
}

/** HTB counts bytes; below a kilobyte a second one full frame takes longer than a second and a half. */
const LEAST_BITS_PER_SEC = 8_000;

function checkRate(about: string, what: string, rate: number): void {
  if (!Number.isSafeInteger(rate) || rate < LEAST_BITS_PER_SEC)
    throw new EgressError(about, `${what} of ${rate} bit/s is not a whole number from ${LEAST_BITS_PER_SEC} on`);
}

const mbit = (bitsPerSec: number): string => `${bitsPerSec / 1e6} Mbit/s`;
