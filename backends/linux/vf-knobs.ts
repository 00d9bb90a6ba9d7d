import type { MacAddress } from '../../src/host/ipv4.ts';
import type { VfKnobs } from '../../src/host/virtual-functions.ts';
import { errnoOf, Refusal } from './errors.ts';
import { RTM_SETLINK } from './link-message.ts';
import type { Netlink } from './netlink.ts';
import { type FunctionRecord, functionRequest, getFunctions, type KnobGroup } from './vf-message.ts';

const VLAN_MAX = 4095;
const QOS_MAX = 7;
const BITS_PER_MBIT = 1_000_000;

/** A knob in the word that ip-link(8) has for it, in the order in which the kernel takes them (do_setvfinfo, net/core/rtnetlink.c). */
interface Turn {
  readonly word: 'mac' | 'vlan' | 'qos' | 'proto' | 'min_tx_rate' | 'max_tx_rate' | 'spoofchk' | 'state' | 'trust';
  readonly group: KnobGroup;
  readonly set: Partial<VfKnobs>;
}

/** @throws Refusal EINVAL for a value that no VF can have */
export function checkKnobs({ mac, vlan, qos, minRateBitsPerSec, maxRateBitsPerSec }: Partial<VfKnobs>): void {
  if (mac !== undefined && !isStation(mac))
    throw invalid('mac', `"${mac}" is no address of one station: write one like 02:70:6c:00:00:01`);
  if (vlan !== undefined && !isUpTo(vlan, VLAN_MAX)) throw invalid('vlan', `${vlan} is not from 0 to ${VLAN_MAX}`);
  if (qos !== undefined && !isUpTo(qos, QOS_MAX)) throw invalid('qos', `${qos} is not from 0 to ${QOS_MAX}`);
  for (const [word, rate] of [
    ['min_tx_rate', minRateBitsPerSec],
    ['max_tx_rate', maxRateBitsPerSec],
  ] as const)
    if (rate !== undefined && !isUpTo(rate / BITS_PER_MBIT, 0xffff_ffff))
      throw invalid(word, `${rate} bit/s is no whole number of Mbit/s`);
}

/** @throws Refusal EINVAL for rates that this link, or each other, does not let be */
export function checkRates(
  { minRateBitsPerSec: min, maxRateBitsPerSec: max }: VfKnobs,
  speedBitsPerSec: number | null,
): void {
  for (const [word, rate] of [
    ['max_tx_rate', max],
    ['min_tx_rate', min],
  ] as const)
    if (speedBitsPerSec !== null && rate > speedBitsPerSec)
      throw invalid(word, `${inMbit(rate)} is above the link's ${inMbit(speedBitsPerSec)}`);
  if (max !== 0 && min > max) throw invalid('min_tx_rate', `${inMbit(min)} is above max_tx_rate, ${inMbit(max)}`);
}

/** Does this change a rate? */
export const turnsRates = (set: Partial<VfKnobs>, now: VfKnobs): boolean =>
  turnsBetween(now, set).some(({ group }) => group === 'rate');

/**
 * Turns all these knobs of one VF, or none. What is so already is left out: a driver refuses also what changes nothing.
 * @throws Refusal which names the knob and the driver, and what could not be put back
 */
export function turnKnobs(
  netlink: Netlink,
  pf: FunctionRecord,
  index: number,
  { set, driver }: { readonly set: Partial<VfKnobs>; readonly driver: string },
): void {
  const now = pf.vfs.get(index)!;
  const turns = turnsBetween(now, set);
  const groups = [...new Set(turns.map(({ group }) => group))];
  if (groups.length === 0) return;
  try {
    netlink.request(RTM_SETLINK, 0, functionRequest(pf.index, index, groups, { ...now, ...set }));
  } catch (error) {
    // A device that is gone refuses all.
    if (errnoOf(error) === 'ENODEV') throw error;
    turnOneByOne(netlink, pf, index, turns, driver);
  }
}

/** So that the refusal names the knob. A driver that refused them together may take them one after another. */
function turnOneByOne(
  netlink: Netlink,
  pf: FunctionRecord,
  index: number,
  turns: readonly Turn[],
  driver: string,
): void {
  const before = pf.vfs.get(index)!;
  const knobs = { ...before };
  for (const { word, group, set } of turns) {
    Object.assign(knobs, set);
    try {
      netlink.request(RTM_SETLINK, 0, functionRequest(pf.index, index, [group], knobs));
    } catch (error) {
      const left = putBack(netlink, pf, index, before);
      throw refusalBy(driver, word, error, left);
    }
  }
}

/** @returns the knobs that stay turned, in words */
function putBack(netlink: Netlink, { name, index: link }: FunctionRecord, index: number, before: VfKnobs): string[] {
  const now = getFunctions(netlink, name).vfs.get(index);
  if (now === undefined) return [];
  const left: string[] = [];
  const knobs = { ...now };
  for (const { word, group, set } of turnsBetween(now, before).filter(({ word: knob }) => isOther(knob, now, before))) {
    try {
      netlink.request(RTM_SETLINK, 0, functionRequest(link, index, [group], { ...knobs, ...set }));
      Object.assign(knobs, set);
    } catch {
      left.push(word);
    }
  }
  return left;
}

/** `turnsBetween` turns the MAC always. */
const isOther = (word: Turn['word'], now: VfKnobs, before: VfKnobs): boolean =>
  word !== 'mac' || now.mac !== before.mac;

function turnsBetween(now: VfKnobs, set: Partial<VfKnobs>): Turn[] {
  const turns: Turn[] = [];
  const turn = (word: Turn['word'], group: KnobGroup, key: keyof VfKnobs): void => {
    const value = set[key];
    // The MAC that a VF chose itself reads the same as one that the PF gives it, from which it may not stray.
    if (value !== undefined && (value !== now[key] || key === 'mac'))
      turns.push({ word, group, set: { [key]: value } });
  };
  turn('mac', 'mac', 'mac');
  turn('vlan', 'vlan', 'vlan');
  turn('qos', 'vlan', 'qos');
  turn('proto', 'vlan', 'proto');
  // On the way the least must not be above the most, either.
  const isLower = (set.maxRateBitsPerSec ?? 0) !== 0 && set.maxRateBitsPerSec! < now.minRateBitsPerSec;
  if (isLower) turn('min_tx_rate', 'rate', 'minRateBitsPerSec');
  turn('max_tx_rate', 'rate', 'maxRateBitsPerSec');
  if (!isLower) turn('min_tx_rate', 'rate', 'minRateBitsPerSec');
  turn('spoofchk', 'spoofCheck', 'spoofCheck');
  turn('state', 'linkState', 'linkState');
  turn('trust', 'trust', 'trust');
  return turns;
}

/** The values are such as a card can have: a driver that calls one invalid, or not supported, does not have the knob. */
function refusalBy(driver: string, word: Turn['word'], cause: unknown, left: readonly string[]): Refusal {
  const code = errnoOf(cause) ?? 'EIO';
  const isRefused = code === 'EINVAL' || code === 'EOPNOTSUPP';
  const said = cause instanceof Error ? cause.message : String(cause);
  const detail = `${word}: the driver ${driver} refuses it (${said})`;
  const stays = left.length === 0 ? '' : `; what could not be put back: ${left.join(', ')}`;
  return new Refusal(isRefused ? 'EOPNOTSUPP' : code, `${detail}${stays}`, cause);
}

const invalid = (word: Turn['word'], why: string): Refusal => new Refusal('EINVAL', `${word}: ${why}`, undefined);
const isUpTo = (value: number, most: number): boolean => Number.isInteger(value) && value >= 0 && value <= most;
/** Not a group's: the lowest bit of the first byte. */
const isStation = (mac: MacAddress): boolean => /^[\da-f][02468ace](?::[\da-f]{2}){5}$/i.test(mac);
const inMbit = (rate: number): string => `${rate / BITS_PER_MBIT} Mbit/s`;
