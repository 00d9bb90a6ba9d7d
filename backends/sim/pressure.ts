import { KIB } from '../../src/host/units.ts';
import { PAGE_BYTES, type Charge } from './charge.ts';
import type { Group } from './group.ts';
import type { Memory } from './memory.ts';
import type { Task } from './task.ts';

/** One pass of reclaim takes at least a batch of charges: 64 pages (MEMCG_CHARGE_BATCH, mm/memcontrol.c)… */
const RECLAIM_BYTES_MIN = 256 * KIB;

/** …and of a long list this share, what the first and gentlest pass scans (DEF_PRIORITY 12, mm/vmscan.c). */
const RECLAIM_SHARE = 1 / 4096;

/** With fewer cached pages than SWAP_CLUSTER_MAX (32) under it, reclaim makes no progress. */
const RECLAIMABLE_BYTES_MIN = 32 * PAGE_BYTES;

/** A task that must wait for a victim tries again after a tick (schedule_timeout_killable(1), mm/oom_kill.c). */
const STALL_MS = 1;

/** Floating point leaves this much between a total and the limit it has met. */
const SAME_BYTES = 1;

/** When growth will meet the limit, by the last survey; never, if it does not grow. */
export function crossingMs({ surveyed: { bytes, slope }, limitBytes }: Group, nowMs: number): number {
  if (slope <= 0) return Number.POSITIVE_INFINITY;
  return nowMs + Math.max(0, limitBytes - bytes) / slope;
}

/** By the last survey, is it over its limit, or at it and growing? */
export function isPast({ surveyed: { bytes, slope }, limitBytes }: Group): boolean {
  const over = bytes - limitBytes;
  return over > SAME_BYTES || (over >= -SAME_BYTES && slope > 0);
}

/** What the kernel does for a charge that does not fit: reclaim, wait for somebody who is dying anyway, or kill one. */
export function relieve(memory: Memory, group: Group, nowMs: number): void {
  const over = Math.max(0, group.bytesAt(nowMs) - group.limitBytes);
  if (reclaim(group, over, nowMs)) return;
  const members = tasksUnder(group);
  if (!group.isDying()) {
    const onlyReads = members.every((task) => task.charge.heldSlope <= 0);
    if (!(onlyReads && over <= SAME_BYTES)) oomKill(memory, members, nowMs);
  }
  for (const task of members) {
    if (task.alive === 0) continue;
    task.stalledUntilMs = nowMs + STALL_MS;
    task.follow(nowMs);
  }
}

/**
 * Gives back `bytes` of file cache under the group, or a pass's worth, from each in proportion to what it has; the
 * inactive lists first, the active ones when those are empty. False: not enough is left to take.
 */
export function reclaim(group: Group, bytes: number, nowMs: number): boolean {
  const charges = group.collectCharges([]);
  for (const charge of charges) charge.settle(nowMs);
  const inactive = sum(charges, 'inactiveBytes');
  const active = sum(charges, 'activeBytes');
  if (inactive + active < Math.max(bytes, RECLAIMABLE_BYTES_MIN)) {
    shrink(charges, 'inactiveBytes', inactive, inactive);
    shrink(charges, 'activeBytes', active, active);
    return false;
  }
  const wanted = Math.max(bytes, RECLAIM_BYTES_MIN, inactive * RECLAIM_SHARE);
  const fromInactive = Math.min(inactive, wanted);
  shrink(charges, 'inactiveBytes', fromInactive, inactive);
  // The last pass over a short list is content with what it got: the active list is not raided for the rest of it.
  const still = Math.max(bytes, RECLAIMABLE_BYTES_MIN) - fromInactive;
  if (still > 0) shrink(charges, 'activeBytes', Math.min(active, Math.max(still, RECLAIM_BYTES_MIN)), active);
  return true;
}

/**
 * One process, the one with the most resident (oom_badness; memory.oom.group is 0). Of equals the last in the kernel's
 * walk, which replaces its choice unless the next is smaller (oom_evaluate_task, mm/oom_kill.c). Counted where it lived.
 */
function oomKill(memory: Memory, members: readonly Task[], nowMs: number): void {
  let victim: Task | undefined;
  for (const task of members)
    if (victim === undefined || task.residentBytes(nowMs) >= victim.residentBytes(nowMs)) victim = task;
  if (victim === undefined) return;
  victim.group.oomKills++;
  memory.reap(victim, 1, nowMs);
}

const tasksUnder = (group: Group): Task[] => [...group.subtree()].flatMap((member) => member.tasks);

type FileList = 'inactiveBytes' | 'activeBytes';

const sum = (charges: readonly Charge[], list: FileList): number =>
  charges.reduce((total, charge) => total + charge[list], 0);

function shrink(charges: readonly Charge[], list: FileList, bytes: number, of: number): void {
  if (of > 0) for (const charge of charges) charge[list] -= (charge[list] * bytes) / of;
}
