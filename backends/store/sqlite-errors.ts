import { type Errno, HostError } from '../../src/host/errors.ts';

/** Another engine may hold the file for as long as one commit takes. */
export const BUSY_TIMEOUT_MS = 5000;

/** SQLite's primary result codes (sqlite.org/rescode.html) in the port's words; anything else is EIO. */
const CODES: Readonly<Record<number, { readonly code: Errno; readonly remedy?: string }>> = {
  3: { code: 'EACCES' },
  5: { code: 'EAGAIN', remedy: `held by another process for over ${BUSY_TIMEOUT_MS / 1000} s` },
  8: { code: 'EACCES' },
  11: { code: 'EIO', remedy: 'the file is damaged: move it away, and what was asked must be asked again' },
  13: { code: 'ENOSPC' },
  14: { code: 'ENOENT', remedy: 'its folder must be there, and writable' },
  26: { code: 'EIO', remedy: 'the file is not a store, or is damaged: move it away' },
};

/** Does this, and tells SQLite's failures in the port's words. @throws HostError */
export function attempt<T>(operation: string, target: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    // The lower byte is the primary code.
    const { code = 'EIO', remedy } = CODES[((cause as { errcode?: number }).errcode ?? 1) & 0xff] ?? {};
    const said = cause instanceof Error ? cause.message : JSON.stringify(cause);
    throw new HostError(code, operation, target, { detail: remedy === undefined ? said : `${said}; ${remedy}`, cause });
  }
}
