import { z } from 'zod';
import { isErrno } from '../host/errors.ts';
import {
  type BitsPerSecond,
  type Bytes,
  formatBytes,
  type Milliseconds,
  parseBitsPerSecond,
  parseBytes,
  parseMilliseconds,
  UnitError,
} from '../host/units.ts';
import { hint } from './nearest.ts';

/** No machine has more, and sums of such sizes stay exact. */
const SIZE_MAX_BYTES = 1024 ** 5;

const DURATION_MAX_MS = 366 * 86_400_000;

/** An object with these keys and no others; an unknown one is told with the nearest known. */
export const strict = <Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `unknown key "${issue.keys[0]}": ${hint(issue.keys[0]!, Object.keys(shape))}`
        : undefined,
  });

/** A value that is read by `parse`, whose error becomes the problem. */
const parsed = <T>(parse: (written: unknown) => T) =>
  z.unknown().transform((written, context): T => {
    try {
      return parse(written);
    } catch (error) {
      if (!(error instanceof UnitError)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
      return z.NEVER;
    }
  });

/** `512Mi` */
export const size = parsed((written): Bytes => {
  if (written === undefined) throw new UnitError('a size is missing: write one, like 512Mi');
  if (typeof written !== 'string' && typeof written !== 'number')
    throw new UnitError(`${kindOf(written)} is not a size: write 512Mi, 2Gi or 4096 (bytes)`);
  if (isNegative(written)) throw new UnitError(`${written} is negative: a size is 0 or more`);
  const value = parseBytes(written);
  if (value > SIZE_MAX_BYTES)
    throw new UnitError(`${written} is ${formatBytes(value)}, more than any machine has: write 512Mi or 2Gi`);
  return value;
});

/** `250ms` */
export const duration = parsed((written): Milliseconds => {
  if (written === undefined) throw new UnitError('a duration is missing: write one, like 5s');
  if (typeof written === 'number' && written !== 0)
    throw new UnitError(`${written} has no unit: write 250ms, 5s, 10m or 24h`);
  if (typeof written !== 'string' && written !== 0)
    throw new UnitError(`${kindOf(written)} is not a duration: write 250ms, 5s, 10m or 24h`);
  if (isNegative(written)) throw new UnitError(`${written} is negative: a duration is 0 or more`);
  const value = written === 0 ? (0 as Milliseconds) : parseMilliseconds(written);
  if (value > DURATION_MAX_MS) throw new UnitError(`${written} is more than a year: write 250ms, 5s, 10m or 24h`);
  return value;
});

/** `10Mbit` */
export const rate = parsed((written): BitsPerSecond => {
  if (written === undefined) throw new UnitError('a rate is missing: write one, like 10Mbit');
  if (typeof written !== 'string')
    throw new UnitError(`${kindOf(written)} is not a rate: write 500kbit, 10Mbit or 1Gbit`);
  if (isNegative(written)) throw new UnitError(`${written} is negative: a rate is above 0`);
  return parseBitsPerSecond(written);
}).refine((bitsPerSec) => bitsPerSec > 0, 'it is 0: leave it out for none');

/** A duration above 0, where 0 would mean nothing. */
export const period = duration.refine((ms) => ms > 0, 'it is 0: write a duration above 0, like 1s');

/** A factor of the hard limit; which ones make sense is the memory rule's to say. */
export const factor = z.number();

/** An errno name that hosts speak. */
export const errno = z
  .string()
  .refine(isErrno, 'no error that a host gives: write one of its errno names, like EIO, EBUSY or ENOMEM');

/** A name that is safe in a path, a cgroup and a table. */
const NAME = /^[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?$/i;

/** Files that the kernel has in a cgroup, of either version: a container's cgroup stands among its parent's. */
const KERNEL_FILE =
  /^(?:tasks$|notify_on_release$|release_agent$|(?:blkio|cgroup|cpu|cpuacct|cpuset|debug|devices|dmem|freezer|hugetlb|io|irq|memory|misc|net_cls|net_prio|perf_event|pids|rdma)\.)/;

const NOT_A_NAME = 'not usable as a name: letters, digits, "-", "_" and "." inside, at most 63';

export const name = z
  .string()
  .regex(NAME, NOT_A_NAME)
  .refine((text) => !KERNEL_FILE.test(text), 'the kernel has files of such names in every cgroup: choose another name');

/** A map from names to something. Keys come back as they were written. */
export const named = <T extends z.ZodType>(value: T) =>
  z
    .unknown()
    .superRefine((written, context) => {
      // JavaScript keeps no such key, and would drop what stands there without a word.
      if (typeof written === 'object' && written !== null && Object.hasOwn(written, '__proto__'))
        context.addIssue({ code: 'custom', path: ['__proto__'], message: NOT_A_NAME });
    })
    .pipe(z.record(name, value));

/** Exactly one of these keys. */
export function exactlyOne<T extends object>(keys: readonly (keyof T & string)[], what: string) {
  return (value: T, context: z.RefinementCtx): void => {
    const present = keys.filter((key) => value[key] !== undefined);
    if (present.length === 1) return;
    const found = present.length === 0 ? 'none' : present.map((key) => `"${key}"`).join(' and ');
    context.addIssue({ code: 'custom', message: `${what} is exactly one of ${keys.join(', ')}; there is ${found}` });
  };
}

/** What stands there, in a word, for messages. */
export function kindOf(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  if (typeof value === 'string') return `"${value.slice(0, 40)}"`;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : typeof value;
}

const isNegative = (written: unknown): boolean =>
  typeof written === 'number' ? written < 0 : typeof written === 'string' && /^\s*-\s*[\d.]/.test(written);
