import type { Applied } from '../../src/host/batch.ts';
import type { Firewall } from '../../src/host/firewall.ts';
import type { Host } from '../../src/host/host.ts';
import type { LinkName, Links } from '../../src/host/links.ts';
import { entryKey, type Routing, type RoutingEntry } from '../../src/host/routing.ts';
import { type Shaper, type ShaperObject, shaperKey } from '../../src/host/shaper.ts';

type Kept = Pick<Host, 'links' | 'routing' | 'firewall' | 'shaper'>;

/**
 * A host's network where its own namespace is the machine's, which does not end with the run: writes down what the run
 * made there and was not there before, and takes that away again and nothing else. What is in namespaces of ours goes with them.
 */
export class Ledger implements Kept {
  readonly links: Links;
  readonly routing: Routing;
  readonly firewall: Firewall;
  readonly shaper: Shaper;
  readonly #raw: Kept;
  /** With its mark: by then somebody else may have one of the same name. */
  readonly #links = new Map<string, string>();
  readonly #entries = new Map<string, RoutingEntry>();
  readonly #objects = new Map<string, ShaperObject>();
  #hasFirewall = false;

  constructor(raw: Kept) {
    this.#raw = raw;
    const { links, routing, firewall, shaper } = raw;
    this.links = {
      create: async (specs) => {
        const before = new Set((await links.list([''])).map(({ name }) => name));
        const ends = specs.map((spec) => (spec.kind.type === 'veth' ? [spec, spec.kind.peer] : [spec]));
        return await noting(links.create(specs), ends, (made) => {
          for (const { namespace, name, alias } of made)
            if (namespace === '' && !before.has(name)) this.#links.set(name, alias);
        });
      },
      set: (changes) => links.set(changes),
      move: (moves) => links.move(moves),
      remove: (names) => links.remove(names),
      list: (namespaces) => links.list(namespaces),
    };
    this.routing = {
      add: async (entries) => {
        const before = new Set((await routing.list([''])).map(entryKey));
        return await noting(routing.add(entries), entries, (entry) => {
          const key = entryKey(entry);
          if (entry.namespace === '' && !before.has(key)) this.#entries.set(key, entry);
        });
      },
      remove: (entries) =>
        noting(routing.remove(entries), entries, (entry) => void this.#entries.delete(entryKey(entry))),
      announce: (announcements) => routing.announce(announcements),
      list: (namespaces) => routing.list(namespaces),
    };
    this.firewall = {
      apply: async (changes) => {
        const wasThere = this.#hasFirewall || (await firewall.read()).frame !== null;
        return await noting(firewall.apply(changes), changes, ({ frame }) => {
          if (frame !== undefined && !wasThere) this.#hasFirewall = frame !== null;
        });
      },
      read: () => firewall.read(),
    };
    this.shaper = {
      add: async (objects) => {
        const before = new Set((await shaper.list(objects)).objects.map(shaperKey));
        return await noting(shaper.add(objects), objects, (object) => {
          const key = shaperKey(object);
          if (object.namespace === '' && !before.has(key)) this.#objects.set(key, object);
        });
      },
      remove: (objects) =>
        noting(shaper.remove(objects), objects, (object) => void this.#objects.delete(shaperKey(object))),
      list: (names) => shaper.list(names),
      counters: (names) => shaper.counters(names),
      hasFairQueues: () => shaper.hasFairQueues(),
    };
  }

  /** Takes away what the run made. @throws HostError */
  async clear(): Promise<void> {
    const { links, routing, firewall, shaper } = this.#raw;
    if (this.#hasFirewall) insist(await firewall.apply([{ frame: null, add: [], remove: [] }]));
    // A class that is under another goes first.
    insist(await shaper.remove([...this.#objects.values()].reverse()));
    insist(await routing.remove([...this.#entries.values()].reverse()));
    const ours = (await links.list([''])).filter(({ name, alias }) => this.#links.get(name) === alias);
    insist(await links.remove(ours.map(({ namespace, name }): LinkName => ({ namespace, name }))));
  }
}

async function noting<T>(applying: Promise<Applied>, batch: readonly T[], note: (one: T) => void): Promise<Applied> {
  const applied = await applying;
  batch.slice(0, applied.applied).forEach(note);
  return applied;
}

function insist({ error }: Applied): void {
  if (error !== undefined) throw error;
}
