import type { Applied } from '../../src/host/batch.ts';
import type { HostError } from '../../src/host/errors.ts';
import type { Firewall, FirewallChange, FirewallState } from '../../src/host/firewall.ts';
import { targetOf } from '../../src/host/steps.ts';
import { DockerUser } from './docker-user.ts';
import { hostError } from './errors.ts';
import {
  type FirewallContents,
  type FirewallEdit,
  NOTHING,
  stateOf,
  unchanged,
  withChange,
} from './firewall-contents.ts';
import { IptablesFilter } from './iptables.ts';
import type { NetworkRoot } from './netns.ts';
import { NftFilter } from './nft.ts';
import { whyNoNft } from './firewall-abilities.ts';

/** What a firewall is kept in. */
export interface PacketFilter {
  /** What is there; cheap where nothing has changed. */
  read(): Promise<FirewallContents>;
  /** Has anybody else changed anything since this was read or written? */
  isStale(): boolean | Promise<boolean>;
  /** Makes an edit, all or nothing. */
  write(edit: FirewallEdit): Promise<void>;
}

/** The firewall of a host's own network namespace, kept in nft; where that cannot be, in iptables, unless one is named. */
export const linuxFirewall = (root: NetworkRoot, keeping?: 'nft' | 'iptables'): Firewall =>
  new LinuxFirewall(async () => {
    const isNft = keeping === undefined ? (await whyNoNft(root)) === null : keeping === 'nft';
    return isNft ? new NftFilter(root) : new IptablesFilter(root);
  }, new DockerUser(root));

class LinuxFirewall implements Firewall {
  readonly #choose: () => Promise<PacketFilter>;
  readonly #docker: DockerUser;
  #filter: Promise<PacketFilter> | undefined;
  /** One after the other: each builds on what the one before has read. */
  #last: Promise<unknown> = Promise.resolve();
  #told: { readonly contents: FirewallContents; readonly state: FirewallState } | undefined;

  constructor(choose: () => Promise<PacketFilter>, docker: DockerUser) {
    this.#choose = choose;
    this.#docker = docker;
  }

  apply(changes: readonly FirewallChange[]): Promise<Applied> {
    return this.#inTurn((filter) => applyAll(besideDocker(filter, this.#docker), changes));
  }

  async read(): Promise<FirewallState> {
    return await this.#inTurn(async (filter) => {
      const contents = await filter.read();
      if (this.#told?.contents !== contents) this.#told = { contents, state: stateOf(contents) };
      const { state } = this.#told;
      const drift = await this.#docker.drift(contents.lines !== null);
      return drift === null ? state : { ...state, frame: [...(state.frame ?? []), drift] };
    }).catch((error: unknown) => {
      throw hostError('firewall.read', 'plimsoll', error);
    });
  }

  #inTurn<T>(act: (filter: PacketFilter) => Promise<T>): Promise<T> {
    const mine = this.#last.then(async () => await act(await (this.#filter ??= this.#choose())));
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}

/** Writes frames together with our rules in Docker's chain: both, or where one fails neither. */
const besideDocker = (filter: PacketFilter, docker: DockerUser): PacketFilter => ({
  read: () => filter.read(),
  isStale: () => filter.isStale(),
  async write(edit) {
    const undo = edit.frame === undefined ? undefined : await docker.set(edit.frame !== null);
    try {
      await filter.write(edit);
    } catch (error) {
      await undo?.();
      throw error;
    }
  },
});

/** Changes that can be made are made at once; where that fails, one by one, to find which it is. */
async function applyAll(
  filter: PacketFilter,
  changes: readonly FirewallChange[],
  isSecondTry = false,
): Promise<Applied> {
  const { edit, applied, error } = await foldAll(filter, changes);
  if (edit !== undefined) {
    try {
      await filter.write(edit);
    } catch (failure) {
      // What was worked out from what is not so any more is worked out once more.
      if (!isSecondTry && (await filter.isStale())) return await applyAll(filter, changes, true);
      if (applied > 1) return await oneByOne(filter, changes);
      return { applied: 0, error: failed(changes[0]!, failure) };
    }
  }
  return error === undefined ? { applied } : { applied, error };
}

async function oneByOne(filter: PacketFilter, changes: readonly FirewallChange[]): Promise<Applied> {
  for (const [index, change] of changes.entries()) {
    const { error } = await applyAll(filter, [change]);
    if (error !== undefined) return { applied: index, error };
  }
  return { applied: changes.length };
}

interface Folded {
  /** Undefined where nothing can be made. */
  readonly edit?: FirewallEdit;
  readonly applied: number;
  readonly error?: HostError;
}

async function foldAll(filter: PacketFilter, changes: readonly FirewallChange[]): Promise<Folded> {
  let folded: Folded = { applied: 0 };
  for (const change of changes) {
    try {
      // Where everything is replaced, it does not matter what was there.
      const edit = folded.edit ?? unchanged(change.frame === undefined ? await filter.read() : NOTHING);
      folded = { edit: withChange(edit, change), applied: folded.applied + 1 };
    } catch (error) {
      return { ...folded, error: failed(change, error) };
    }
  }
  return folded;
}

const failed = (change: FirewallChange, error: unknown): HostError =>
  hostError('firewall.apply', targetOf({ verb: 'firewall.apply', with: change, why: '' }), error);
