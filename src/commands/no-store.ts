import { HostError } from '../host/errors.ts';
import type { Store } from '../host/store.ts';

const refuse = (verb: keyof Store, target: string): Promise<never> =>
  Promise.reject(
    new HostError('EOPNOTSUPP', `store.${verb}`, target, { detail: 'this host was opened without a store' }),
  );

/** Stands where nothing is asked that would have to be remembered: whoever does use it is told so. */
export const noStore: Store = {
  read: (prefix) => refuse('read', prefix),
  commit: () => refuse('commit', 'the store'),
  watch: (prefix) => refuse('watch', prefix),
  openSession: () => refuse('openSession', 'the store'),
  renewSession: (session) => refuse('renewSession', session),
  endSession: (session) => refuse('endSession', session),
};
