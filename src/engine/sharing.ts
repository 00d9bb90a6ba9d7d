import { HostError } from '../host/errors.ts';
import type { Host } from '../host/host.ts';
import type { SessionId, Store, StoreEntry, Transaction } from '../host/store.ts';
import { NetworkError } from '../network/desired.ts';
import {
  type Claim,
  claim,
  isEmpty,
  type Lease,
  release,
  type Shared,
  SHARED_PREFIXES,
  sharedOf,
} from '../network/shared.ts';
import { ownPrefix } from './asked.ts';

/** A host that does not renew for so long counts as dead: what it leased is free. */
const SESSION_MS = 15_000;

/** Renewed so often, two missed renewals are survived. */
const RENEW_EVERY_MS = 4000;

/** Others may come first; each round somebody commits. */
const ROUNDS_MAX = 100;

interface TakeOptions {
  /** What was read just now. */
  readonly known?: Shared;
  /** As of `claim`. */
  readonly onRefusal?: (error: NetworkError) => void;
}

/** Whatever of a claim depends on the host alone. */
export type HostClaim = Omit<Claim, 'host' | 'session'>;

/** What hosts share now. @throws HostError */
export const readShared = async (store: Store): Promise<Shared> => sharedOf(await readEntries(store));

const readEntries = async (store: Store): Promise<StoreEntry[]> =>
  (await Promise.all(SHARED_PREFIXES.map((prefix) => store.read(prefix)))).flat();

/** What this host shares with others, through the store: networks, addresses, and the session that holds them. */
export class Sharing {
  readonly #host: Host;
  #session: SessionId | undefined;
  #renewedMs = Number.NEGATIVE_INFINITY;
  #last: Shared | undefined;

  constructor(host: Host) {
    this.#host = host;
  }

  /** What hosts share now. @throws HostError */
  async read(): Promise<Shared> {
    return (this.#last = await readShared(this.#host.store));
  }

  /** What would be shared if this were taken; nothing is written. @throws NetworkError, HostError */
  async imagine(wanted: HostClaim): Promise<Shared> {
    const entries = await readEntries(this.#host.store);
    const { put = [] } = claim(sharedOf(entries), { ...wanted, host: this.#host.name });
    const changed = new Map(put.map((entry) => [entry.key, { ...entry, revision: 0 }]));
    return sharedOf([...entries.filter(({ key }) => !changed.has(key)), ...changed.values()]);
  }

  /** As it was last read; undefined where it never was. */
  get last(): Shared | undefined {
    return this.#last;
  }

  /**
   * Writes what is asked together with the claim to everything it needs, all or nothing. Returns the leases that are new.
   * `known` was read just now; where it is not so any more, nothing is written by it. @throws NetworkError where something cannot be had; HostError
   */
  async take(
    wanted: HostClaim,
    change: Transaction = {},
    { known, onRefusal }: TakeOptions = {},
  ): Promise<readonly Lease[]> {
    const needsLeases = wanted.containers.some(({ attachments = [] }) => attachments.length > 0);
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const session = needsLeases ? await this.#openSession() : undefined;
      const shared = round === 0 && known !== undefined ? known : await this.read();
      const mine = { ...wanted, host: this.#host.name, ...(session !== undefined && { session }) };
      const claimed = claim(shared, mine, onRefusal);
      const whole: Transaction = {
        expect: [...(change.expect ?? []), ...(claimed.expect ?? [])],
        put: [...(change.put ?? []), ...(claimed.put ?? [])],
        remove: change.remove ?? [],
      };
      if (isEmpty(whole)) return [];
      if (!(await this.#commit(whole))) continue;
      if (isEmpty(claimed)) return [];
      const before = shared.leases;
      const after = await this.read();
      return [...after.leases].flatMap(([key, { value }]) =>
        value.host === this.#host.name && !before.has(key) ? [value] : [],
      );
    }
    throw new NetworkError('the store', `other hosts came first ${ROUNDS_MAX} times in a row: try again`);
  }

  /** False: somebody else came first, or the session ended meanwhile. */
  async #commit(transaction: Transaction): Promise<boolean> {
    try {
      return (await this.#host.store.commit(transaction)).committed;
    } catch (error) {
      if (!(error instanceof HostError && error.code === 'ESRCH')) throw error;
      this.#session = undefined;
      return false;
    }
  }

  /** Gives back what is not wanted any more. Returns the leases given back. @throws HostError */
  async giveBack(wanted: HostClaim): Promise<readonly Lease[]> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const shared = this.#last ?? (await this.read());
      const change = release(shared, { ...wanted, host: this.#host.name });
      if (isEmpty(change)) break;
      const { committed } = await this.#host.store.commit(change);
      const after = await this.read();
      if (committed)
        return [...shared.leases].flatMap(([key, { value }]) =>
          value.host === this.#host.name && !after.leases.has(key) ? [value] : [],
        );
    }
    return [];
  }

  /** Says that this host lives, where it is time to. False: it was dead for the others, and what it held may be another's. @throws HostError */
  async renew(): Promise<boolean> {
    const nowMs = this.#host.clock.monotonicMs();
    if (nowMs - this.#renewedMs < RENEW_EVERY_MS) return true;
    const session = this.#session ?? (await this.#storedSession());
    const lives = session === undefined || (await this.#host.store.renewSession(session));
    this.#renewedMs = nowMs;
    this.#session = lives ? session : undefined;
    return lives;
  }

  /** Ends the session: nothing is held any more. @throws HostError */
  async end(): Promise<void> {
    const session = this.#session ?? (await this.#storedSession());
    if (session === undefined) return;
    await this.#host.store.endSession(session);
    await this.#host.store.commit({ remove: [this.#sessionKey] });
    this.#session = undefined;
  }

  get #sessionKey(): string {
    return `${ownPrefix(this.#host.name)}session`;
  }

  async #storedSession(): Promise<SessionId | undefined> {
    return (await this.#host.store.read(this.#sessionKey)).find(({ key }) => key === this.#sessionKey)?.value;
  }

  /** The session of this host, whichever engine opened it: it outlives them. */
  async #openSession(): Promise<SessionId> {
    if (this.#session !== undefined) return this.#session;
    const { store, clock } = this.#host;
    const stored = await this.#storedSession();
    if (stored !== undefined && (await store.renewSession(stored))) this.#session = stored;
    else {
      const opened = await store.openSession(SESSION_MS);
      await store.commit({ put: [{ key: this.#sessionKey, value: opened }] });
      this.#session = opened;
    }
    this.#renewedMs = clock.monotonicMs();
    return this.#session;
  }
}
