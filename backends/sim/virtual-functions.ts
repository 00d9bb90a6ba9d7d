import { HostError, type Errno } from '../../src/host/errors.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { invalidity, KNOB_WORDS, refusalBy } from '../../src/host/vf-drivers.ts';
import {
  type FoundFunctions,
  type VfChange,
  type VfCount,
  vfKey,
  type VfKnobs,
  type VfName,
  type VirtualFunction,
  type VirtualFunctions,
} from '../../src/host/virtual-functions.ts';
import { inOrder } from './batch.ts';
import type { EventQueue } from './events.ts';
import type { HostNetwork } from './network.ts';
import type { Nic, Vf } from './nic.ts';

/** How long a PF's link is waited for, and how often it is looked at: three times the slowest that was measured. */
const LINK_WAIT_MS = 12_000;
const LINK_LOOK_MS = 50;

/** From a VF's driver to its link: probing, and resetting the VF through the PF's mailbox. */
const BIND_MS = 100;

/** Every card of the model is one of Intel's but mlx5_core's (pci_ids.h). */
const VENDORS: Readonly<Record<string, string>> = { mlx5_core: '0x15b3' };
const VENDOR = '0x8086';

/** Virtual functions of the model. */
export function createVirtualFunctions(host: HostNetwork, events: EventQueue): VirtualFunctions {
  /** Resolves when the PF has its link, or false when that takes too long. */
  async function awaitCarrier(nic: Nic): Promise<boolean> {
    for (const untilMs = events.nowMs + LINK_WAIT_MS; !nic.carrier; await events.sleep(LINK_LOOK_MS))
      if (events.nowMs >= untilMs) return false;
    return true;
  }

  function vfOf(verb: 'set' | 'bind' | 'unbind', name: VfName): Vf {
    const nic = host.nics.ofPf(name.pf) ?? refuse('ENODEV', verb, vfKey(name), `there is no PF ${name.pf}`);
    return nic.vfs[name.index] ?? refuse('EINVAL', verb, vfKey(name), `it has ${nic.vfs.length} VFs`);
  }

  async function enable({ pf, count, autoprobe }: VfCount): Promise<void> {
    const refused = (code: Errno, detail: string): never => refuse(code, 'enable', pf, detail);
    if (!host.own.links.has(pf)) refused('ENODEV', 'no such link');
    const nic = host.nics.ofPf(pf) ?? refused('EOPNOTSUPP', 'it has no virtual functions');
    if (!Number.isInteger(count) || count < 0) refused('EINVAL', `${count} is no number of VFs`);
    if (count === nic.vfs.length) {
      nic.autoprobe = autoprobe ?? nic.autoprobe;
      return;
    }
    if (count > nic.totalVfs) refused('ERANGE', `it can have ${nic.totalVfs} VFs`);
    if (count > 0 && nic.vfs.length > 0) refused('EBUSY', `it has ${nic.vfs.length} VFs: take them away first`);
    const hadCarrier = nic.carrier;
    nic.setVfs(count);
    nic.autoprobe = autoprobe ?? nic.autoprobe;
    if (hadCarrier && !(await awaitCarrier(nic))) refused('ETIMEDOUT', 'its link did not come back');
  }

  async function set(change: VfChange): Promise<void> {
    const vf = vfOf('set', change);
    const refused = (code: Errno, detail: string): never => refuse(code, 'set', vfKey(change), detail);
    const turned = whatTurns(vf.knobs, change.set);
    check(vf, turned, refused);
    if (turned.minRateBitsPerSec !== undefined || turned.maxRateBitsPerSec !== undefined) {
      if (!(await awaitCarrier(vf.nic))) refused('ENETDOWN', `a rate needs the link of ${change.pf}, which is down`);
      checkRates(vf, { ...vf.knobs, ...turned }, refused);
    }
    vf.turn(turned);
  }

  async function bind(name: VfName): Promise<void> {
    const vf = vfOf('bind', name);
    if (vf.link !== null) return;
    await events.sleep(BIND_MS);
    if (vf.nic.vfs[name.index] !== vf) refuse('EINVAL', 'bind', vfKey(name), 'it went away meanwhile');
    if (vf.link !== null) return;
    if (vf.nic.driver.bindNeedsLink && !vf.nic.carrier)
      refuse('ETIMEDOUT', 'bind', vfKey(name), `no link came: that of ${name.pf} is down`);
    vf.bind();
  }

  return {
    enable: (counts) => inOrder(counts, enable),
    set: (changes) => inOrder(changes, set),
    bind: (names) => inOrder(names, bind),
    unbind: (names) => inOrder(names, (name) => vfOf('unbind', name).unbind()),
    list: async (namespaces) => found(host, new Set(['', ...namespaces])),
  };
}

function refuse(code: Errno, verb: string, target: string, detail: string): never {
  throw new HostError(code, `virtualFunctions.${verb}`, target, { detail });
}

type Refuse = (code: Errno, detail: string) => never;

/** What is so already need not be turned: a driver that lacks a knob is not asked for what it is anyway. */
function whatTurns(now: VfKnobs, wanted: Partial<VfKnobs>): Partial<VfKnobs> {
  const entries = Object.entries(wanted) as [keyof VfKnobs, VfKnobs[keyof VfKnobs] | undefined][];
  return Object.fromEntries(entries.filter(([knob, value]) => value !== undefined && value !== now[knob]));
}

/** Refuses before anything is turned. What a driver takes and does nothing with is taken here too. */
function check({ nic, knobs }: Vf, turned: Partial<VfKnobs>, refused: Refuse): void {
  const entries = Object.entries(turned) as [keyof VfKnobs, never][];
  for (const [knob, value] of entries) {
    const refusal = invalidity(knob, value);
    if (refusal !== null) refused(refusal.code, refusal.detail);
  }
  const { minRateBitsPerSec: min, maxRateBitsPerSec: max } = { ...knobs, ...turned };
  // rtnl_set_vf_rate, net/core/rtnetlink.c.
  if (max !== 0 && min > max) refused('EINVAL', `${KNOB_WORDS.minRateBitsPerSec}: it is over max_tx_rate`);
  for (const [knob, value] of entries) {
    const refusal = refusalBy(nic.driver, knob, value);
    if (refusal !== null && !refusal.silent) refused(refusal.code, refusal.detail);
  }
}

function checkRates(
  { nic, index }: Vf,
  { minRateBitsPerSec: min, maxRateBitsPerSec: max }: VfKnobs,
  refused: Refuse,
): void {
  const speed = nic.speedBitsPerSec;
  const others = nic.vfs.reduce((sum, vf) => sum + (vf.index === index ? 0 : vf.knobs.minRateBitsPerSec), 0);
  if (max > speed) refused('EINVAL', `${KNOB_WORDS.maxRateBitsPerSec}: the link has ${speed} bit/s`);
  // ice_min_tx_rate_oversubscribed, intel/ice/ice_sriov.c.
  if (min !== 0 && min + others > speed)
    refused('EINVAL', `${KNOB_WORDS.minRateBitsPerSec}: with those of other VFs it is over the link's ${speed} bit/s`);
}

function found({ nics, own }: HostNetwork, looked: ReadonlySet<NamespaceName>): FoundFunctions {
  const here = nics.all.filter(({ link }) => link.space === own).sort((a, b) => (a.link.name < b.link.name ? -1 : 1));
  return {
    physical: here.map((nic) => ({
      pf: nic.link.name,
      pciAddress: nic.pciAddress,
      driver: nic.driver.name,
      vendor: VENDORS[nic.driver.name] ?? VENDOR,
      totalVfs: nic.totalVfs,
      vfCount: nic.vfs.length,
      autoprobe: nic.autoprobe,
      carrier: nic.carrier,
      speedBitsPerSec: nic.carrier ? nic.speedBitsPerSec : null,
    })),
    virtual: here.flatMap(({ vfs }) => vfs.map((vf) => stateOf(vf, looked))),
  };
}

function stateOf({ nic, index, pciAddress, knobs, link }: Vf, looked: ReadonlySet<NamespaceName>): VirtualFunction {
  const isSeen =
    link !== null && link.space.host.spaces.get(link.space.name) === link.space && looked.has(link.space.name);
  return {
    pf: nic.link.name,
    index,
    ...knobs,
    pciAddress,
    driver: link === null ? null : nic.driver.vfDriver,
    link: isSeen ? { namespace: link.space.name, name: link.name } : null,
    linkMac: isSeen ? link.space.host.network.macs.text(link.mac) : null,
  };
}
