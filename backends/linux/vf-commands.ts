import type { Step } from '../../src/host/steps.ts';
import type { VfChange, VfCount, VfName } from '../../src/host/virtual-functions.ts';
import { quote } from './quote.ts';

/** A step that concerns virtual functions. */
export type FunctionStep = Extract<Step, { verb: `virtualFunctions.${string}` }>;

/** Is it one? */
export const isFunctionStep = (step: Step): step is FunctionStep => step.verb.startsWith('virtualFunctions.');

/** The commands that do on a shell, as root where the cards' links are, what a step of virtual functions does. */
export function functionCommandOf(step: FunctionStep): string[] {
  switch (step.verb) {
    case 'virtualFunctions.enable':
      return enable(step.with);
    case 'virtualFunctions.set':
      return [set(step.with)];
    case 'virtualFunctions.bind':
      return bind(step.with);
    case 'virtualFunctions.unbind':
      return [unbind(step.with)];
  }
}

const BITS_PER_MBIT = 1_000_000;

const cardOf = (pf: string): string => `/sys/class/net/${pf}/device`;
const addressOf = ({ pf, index }: VfName): string =>
  `"$(basename "$(readlink ${quote(`${cardOf(pf)}/virtfn${index}`)})")"`;

/** Drivers are given to none meanwhile, and to whoever they were given to before afterwards. */
function enable({ pf, count }: VfCount): string[] {
  const probes = quote(`${cardOf(pf)}/sriov_drivers_autoprobe`);
  return [
    // A link that is down does not tell its carrier.
    `before=$(cat ${probes}); carrier=$(cat ${quote(`/sys/class/net/${pf}/carrier`)} 2> /dev/null || true)`,
    `echo 0 > ${probes}`,
    `echo ${count} > ${quote(`${cardOf(pf)}/sriov_numvfs`)}`,
    ...(count === 0
      ? []
      : [`modprobe --quiet --use-blacklist "$(cat ${quote(`${cardOf(pf)}/virtfn0/modalias`)})" || true`]),
    `echo "$before" > ${probes}`,
    `until [ "$carrier" != 1 ] || [ "$(cat ${quote(`/sys/class/net/${pf}/carrier`)})" = 1 ]; do sleep 0.1; done`,
  ];
}

function set({ pf, index, set: knobs }: VfChange): string {
  const { mac, vlan, qos, proto, spoofCheck, trust, linkState, minRateBitsPerSec: min, maxRateBitsPerSec: max } = knobs;
  const tagged = vlan !== undefined || qos !== undefined || proto !== undefined;
  const words = [
    ...(mac === undefined ? [] : [`mac ${mac}`]),
    // These three are one setting, of which ip takes the VLAN first.
    ...(tagged ? [`vlan ${vlan ?? told({ pf, index }, 'vlan')}`] : []),
    ...(tagged ? [`qos ${qos ?? told({ pf, index }, 'qos')}`] : []),
    ...(proto === undefined ? [] : [`proto ${proto}`]),
    ...(min === undefined ? [] : [`min_tx_rate ${min / BITS_PER_MBIT}`]),
    ...(max === undefined ? [] : [`max_tx_rate ${max / BITS_PER_MBIT}`]),
    ...(spoofCheck === undefined ? [] : [`spoofchk ${spoofCheck ? 'on' : 'off'}`]),
    ...(linkState === undefined ? [] : [`state ${linkState}`]),
    ...(trust === undefined ? [] : [`trust ${trust ? 'on' : 'off'}`]),
  ];
  return `ip link set dev ${quote(pf)} vf ${index} ${words.join(' ')}`;
}

/** What the PF tells of it now; it leaves out a zero. */
function told({ pf, index }: VfName, word: 'vlan' | 'qos'): string {
  const line = `/^ *vf ${index} /`;
  const script = String.raw`${line}{s/.*[ ,]${word} \([0-9]*\).*/\1/p;t;s/.*/0/p}`;
  return `"$(ip -d link show dev ${quote(pf)} | sed -n ${quote(script)})"`;
}

function bind(name: VfName): string[] {
  const probes = quote(`${cardOf(name.pf)}/sriov_drivers_autoprobe`);
  return [
    `before=$(cat ${probes}); echo 1 > ${probes}`,
    `echo ${addressOf(name)} > /sys/bus/pci/drivers_probe`,
    `echo "$before" > ${probes}`,
  ];
}

const unbind = (name: VfName): string =>
  `echo ${addressOf(name)} > ${quote(`${cardOf(name.pf)}/virtfn${name.index}/driver/unbind`)}`;
