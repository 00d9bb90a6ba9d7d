import { type Applied } from '../../src/host/batch.ts';
import { type Errno, HostError, isErrno } from '../../src/host/errors.ts';
import { AddressError } from '../../src/host/ipv4.ts';

/** What the kernel refused, in words that say more than its code: they become the detail of the host's error. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: Errno;

  constructor(code: Errno, detail: string, cause: unknown) {
    super(detail, { cause });
    this.code = code;
  }
}

/** What the kernel or Node said, as the host's own error; a HostError stays as it is. */
export function hostError(operation: string, target: string, cause: unknown, detail?: string): HostError {
  if (cause instanceof HostError) return cause;
  const isAddress = cause instanceof AddressError;
  const code = isAddress ? 'EINVAL' : (errnoOf(cause) ?? 'EIO');
  const speaks = isAddress || cause instanceof Refusal || (code === 'EIO' && cause instanceof Error);
  const said = detail ?? (speaks ? cause.message : undefined);
  return new HostError(code, operation, target, said === undefined ? { cause } : { cause, detail: said });
}

/** The errno name an error carries, if it is one that the port speaks. */
export function errnoOf(error: unknown): Errno | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return isErrno(code) ? code : undefined;
}

/** Was it that the thing is not there, or not any more? */
export const isAbsent = (error: unknown): boolean => {
  const code = errnoOf(error);
  return code === 'ENOENT' || code === 'ENODEV';
};

/** Takes a batch one by one, in order, and stops at the first failure. */
export async function inOrder<T>(
  targets: readonly T[],
  operation: string,
  nameOf: (target: T) => string,
  act: (target: T) => void | Promise<void>,
): Promise<Applied> {
  for (const [index, target] of targets.entries()) {
    try {
      await act(target);
    } catch (error) {
      return { applied: index, error: hostError(operation, nameOf(target), error) };
    }
  }
  return { applied: targets.length };
}
