import type { Ability } from '../../src/host/machine.ts';
import type { ShaperObject } from '../../src/host/shaper.ts';
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from './fabric.ts';
import { NetworkRoot } from './netns.ts';
import { runMark } from './owner.ts';
import { CLASSIFIERS } from './shaper-filter.ts';
import { linuxShaper } from './shaper.ts';

const LOOPBACK = { namespace: '', name: 'lo' } as const;
const RATE_BITS_PER_SEC = 1_000_000;
const BYTES = 15_000;
const QDISC: ShaperObject = { ...LOOPBACK, kind: 'qdisc', defaultMinor: 1 };
const FAIR_CLASS: ShaperObject = {
  ...LOOPBACK,
  kind: 'class',
  minor: 1,
  parentMinor: 0,
  rateBitsPerSec: RATE_BITS_PER_SEC,
  ceilBitsPerSec: RATE_BITS_PER_SEC,
  burstBytes: BYTES,
  ceilBurstBytes: BYTES,
  quantumBytes: BYTES,
  fairQueue: true,
};
const FILTER: ShaperObject = { ...LOOPBACK, kind: 'filter' };

/** Several may look at once. */
let looks = 0;

/** What this kernel has for shaping, found by laying it on the loopback of a namespace of its own that is gone again at once. */
export async function shaperAbilities(): Promise<Ability[]> {
  looks += 1;
  const mark = runMark(`look.shaper.${looks}`);
  const name = 'egress shaping (HTB)';
  try {
    makeOwnNamespace(mark);
  } catch (error) {
    return [
      { name, present: false, detail: `${error instanceof Error ? error.message : String(error)}; it takes root` },
    ];
  }
  try {
    const root = new NetworkRoot({ mark, own: ownNamespaceOf(mark) });
    const shaping = await lay(root, name, QDISC, 'CONFIG_NET_SCH_HTB');
    // All else hangs on it.
    if (!shaping.present) return [shaping];
    const fairness = await lay(root, 'fair queues (fq_codel)', FAIR_CLASS, 'CONFIG_NET_SCH_FQ_CODEL');
    return [shaping, fairness, await classifying(root)];
  } finally {
    await removeNetwork(mark);
  }
}

async function lay(root: NetworkRoot, name: string, object: ShaperObject, option: string): Promise<Ability> {
  const { error } = await linuxShaper(root).add([object]);
  return error === undefined
    ? { name, present: true, detail: 'laid one' }
    : { name, present: false, detail: `${error.message}; a kernel with ${option} has it` };
}

/** One of them is enough, so they are one ability. */
async function classifying(root: NetworkRoot): Promise<Ability> {
  const name = 'marks as classes (cls_bpf or cls_fw)';
  const found: string[] = [];
  let present = false;
  for (const by of CLASSIFIERS) {
    const shaper = linuxShaper(root, [by]);
    const { error } = await shaper.add([FILTER]);
    await shaper.remove([FILTER]);
    if (error === undefined) present = true;
    found.push(`cls_${by}: ${error === undefined ? 'laid one' : error.message}`);
  }
  const remedy = present ? '' : '; a kernel with CONFIG_NET_CLS_BPF or CONFIG_NET_CLS_FW does it';
  return { name, present, detail: `${found.join(', ')}${remedy}` };
}
