import type { LinkName } from '../../src/host/links.ts';
import { heldClass, type ShaperClass, type ShaperObject } from '../../src/host/shaper.ts';
import type { Step } from '../../src/host/steps.ts';
import { quote } from './quote.ts';
import { bytecode } from './shaper-filter.ts';
import { handleText } from './shaper-link.ts';
import { FAIR_QUEUE_FLOWS, FAIR_QUEUE_PACKETS, HANDLE } from './shaper-message.ts';

/** A step that shapes. */
export type ShaperStep = Extract<Step, { verb: `shaper.${string}` }>;

/** Is it one? */
export const isShaperStep = (step: Step): step is ShaperStep => step.verb.startsWith('shaper.');

/** The commands of tc(8) that do on a shell, as root in the host's own namespace, what a step does. */
export const shaperCommandOf = (step: ShaperStep): string[] =>
  step.verb === 'shaper.add' ? add(step.with) : [remove(step.with)];

const tc = ({ namespace }: LinkName): string =>
  namespace === ''
    ? 'tc'
    : namespace.startsWith('/')
      ? `nsenter --net=${quote(namespace)} tc`
      : `tc -n ${quote(namespace)}`;

const ROOT = handleText(HANDLE);
const PLACE = `parent ${ROOT} protocol all prio 1`;
const handleOf = (minor: number): string => handleText(HANDLE + minor);

function add(object: ShaperObject): string[] {
  const dev = `dev ${quote(object.name)}`;
  switch (object.kind) {
    case 'qdisc':
      // tc reads the default as a hexadecimal number.
      return [`${tc(object)} qdisc add ${dev} root handle ${ROOT} htb default ${object.defaultMinor.toString(16)}`];
    case 'class':
      return addClass(object, dev);
    case 'filter':
      return [`${tc(object)} filter add ${dev} ${PLACE} bpf bytecode ${quote(bytecode())}`];
  }
}

function addClass(asked: ShaperClass, dev: string): string[] {
  const { minor, parentMinor, rateBitsPerSec, ceilBitsPerSec, burstBytes, ceilBurstBytes, quantumBytes } =
    heldClass(asked);
  const queue = `fq_codel limit ${FAIR_QUEUE_PACKETS} flows ${FAIR_QUEUE_FLOWS}`;
  return [
    `${tc(asked)} class replace ${dev} parent ${handleOf(parentMinor)} classid ${handleOf(minor)} htb rate ${rateBitsPerSec}bit ceil ${ceilBitsPerSec}bit burst ${burstBytes}b cburst ${ceilBurstBytes}b quantum ${quantumBytes}`,
    ...(asked.fairQueue ? [`${tc(asked)} qdisc replace ${dev} parent ${handleOf(minor)} ${queue}`] : []),
  ];
}

function remove(object: ShaperObject): string {
  const dev = `dev ${quote(object.name)}`;
  switch (object.kind) {
    case 'qdisc':
      return `${tc(object)} qdisc delete ${dev} root handle ${ROOT}`;
    case 'class':
      return `${tc(object)} class delete ${dev} classid ${handleOf(object.minor)}`;
    case 'filter':
      return `${tc(object)} filter delete ${dev} ${PLACE}`;
  }
}
