import { HostError } from '../../src/host/errors.ts';
import type { SessionId, Transaction } from '../../src/host/store.ts';

/** @throws HostError EINVAL where a transaction changes a key twice: which of the two was meant? */
export function refuseTwice({ put = [], remove = [] }: Transaction): void {
  const seen = new Set<string>();
  for (const key of [...put.map(({ key }) => key), ...remove]) {
    if (seen.has(key)) throw new HostError('EINVAL', 'store.commit', key, { detail: 'named twice in one transaction' });
    seen.add(key);
  }
}

/** @throws HostError EINVAL where a session would never live. */
export function refuseTtl(ttlMs: number): void {
  if (!(ttlMs > 0 && Number.isFinite(ttlMs)))
    throw new HostError('EINVAL', 'store.openSession', `${ttlMs} ms`, { detail: 'a session lives for some time' });
}

/** What a commit in a session that has ended is told. */
export const sessionEnded = (session: SessionId, cause?: unknown): HostError =>
  new HostError('ESRCH', 'store.commit', session, { detail: 'the session has ended: open another', cause });
