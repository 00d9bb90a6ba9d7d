import { readFileSync } from 'node:fs';

/** /proc/stat counts in hundredths of a second on every architecture that Linux is told of (USER_HZ, proc_stat(5)). */
const US_PER_TICK = 10_000;

/**
 * How long all CPUs have worked since the machine started, in microseconds: user, nice, system, irq and softirq, to a
 * hundredth of a second. What the hypervisor took is not among it.
 */
export function busyUs(): number {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!.split(/\s+/);
  return [user, nice, system, irq, softirq].reduce((sum, ticks) => sum + Number(ticks), 0) * US_PER_TICK;
}
