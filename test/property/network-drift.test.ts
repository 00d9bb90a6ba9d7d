import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Simulation } from '../../backends/sim/simulation.ts';
import { readAsked } from '../../src/engine/asked.ts';
import { brokenAtRest } from '../../src/engine/invariants.ts';
import { observe } from '../../src/engine/planning.ts';
import { readShared } from '../../src/engine/sharing.ts';
import type { Applied } from '../../src/host/batch.ts';
import type { LinkSettings } from '../../src/host/links.ts';
import { observeNetwork } from '../../src/network/observe.ts';
import { networkCase } from './network-cases.ts';
import { askAll, desiredOn, differences, questionsOf, worldOf } from './network-matrix.ts';
import { engineOn, simulate } from './network-run.ts';
import { Reach, runs } from './reach.ts';

/** What somebody does to a host by hand; `pick` says to which of the things that are there. */
interface Drift {
  readonly host: number;
  readonly pick: number;
  readonly what: (typeof KINDS)[number];
}

const KINDS = [
  ...(['an entry gone', 'a link gone', 'a namespace gone', 'an element gone', 'the filter gone'] as const),
  ...(['a link down', 'a link changed', 'a link renamed by its mark', 'an address more', 'a route more'] as const),
  ...(['a tunnel more', 'an element more', 'a link more'] as const),
];

const drift: fc.Arbitrary<Drift> = fc.record({
  host: fc.nat({ max: 3 }),
  pick: fc.nat({ max: 1000 }),
  what: fc.constantFrom(...KINDS),
});

/** Networks are looked after this often: see the engine. */
const DRIFT_MS = 10_000;

const CHANGES: readonly LinkSettings[] = [
  { mtu: 1200 },
  { mac: '02:00:00:00:12:34' },
  { forwarding: true },
  { forwarding: false },
  { master: null },
  { learning: false },
  { ipv6: true },
];

/** True: there was something to do it to. */
async function drifts(simulation: Simulation, name: string, { pick, what }: Drift): Promise<boolean> {
  const host = simulation.host(name);
  const { namespaces, links, entries, firewall } = await observeNetwork(host);
  const ours = links.filter(({ type, name: link }) => type !== 'loopback' && link !== 'eth0');
  const inside = links.filter(({ type, namespace }) => namespace !== '' && type !== 'loopback');
  const of = <T>(all: readonly T[]): T | undefined => all[pick % Math.max(1, all.length)];
  const link = of([...ours, ...inside]);
  const done = async (applied: Promise<Applied>): Promise<boolean> => (await applied).error === undefined;
  switch (what) {
    case 'an entry gone': {
      const entry = of(entries.filter((each) => each.kind === 'rule' || each.namespace !== '' || each.link !== 'eth0'));
      return entry !== undefined && (await done(host.routing.remove([entry])));
    }
    case 'a link gone':
      return link !== undefined && (await done(host.links.remove([link])));
    case 'a namespace gone':
      return of(namespaces) !== undefined && (await done(host.namespaces.remove([of(namespaces)!])));
    case 'an element gone': {
      const element = of(firewall.elements);
      return element !== undefined && (await done(host.firewall.apply([{ add: [], remove: [element] }])));
    }
    case 'the filter gone':
      return firewall.frame !== null && (await done(host.firewall.apply([{ frame: null, add: [], remove: [] }])));
    case 'a link down':
      return link !== undefined && (await done(host.links.set([{ ...place(link), set: { up: false } }])));
    case 'a link changed':
      return link !== undefined && (await done(host.links.set([{ ...place(link), set: of(CHANGES)! }])));
    case 'a link renamed by its mark':
      return link !== undefined && (await done(host.links.set([{ ...place(link), set: { alias: 'mine' } }])));
    case 'an address more':
      return (
        link !== undefined &&
        (await done(
          host.routing.add([{ kind: 'address', namespace: link.namespace, link: link.name, prefix: '10.9.9.9/24' }]),
        ))
      );
    case 'a route more': {
      const at = of(inside);
      if (at === undefined) return false;
      return done(host.routing.add([{ kind: 'route', namespace: at.namespace, link: at.name, to: '10.77.0.0/16' }]));
    }
    case 'a tunnel more': {
      const at = of(ours.filter(({ type }) => type === 'vxlan'));
      if (at === undefined) return false;
      const entry = { kind: 'fdb', namespace: '', link: at.name, mac: '02:00:00:00:56:78' } as const;
      return done(host.routing.add([{ ...entry, destination: '192.168.77.99' }]));
    }
    case 'an element more': {
      if (firewall.frame === null) return false;
      const more = { family: 'inet', set: 'natted', key: '10.77.0.0/16' } as const;
      return done(host.firewall.apply([{ add: [more], remove: [] }]));
    }
    case 'a link more':
      return done(
        host.links.create([{ namespace: '', name: `plb-extra${pick}`, alias: '', kind: { type: 'bridge' } }]),
      );
  }
}

/** All that there is on a host, less what the kernel chooses: MACs of ports and tunnels. */
async function stateOf(simulation: Simulation, name: string): Promise<string[]> {
  const { namespaces, links, entries, firewall } = await observeNetwork(simulation.host(name));
  return [
    ...namespaces,
    ...links.map(({ mac, ...link }) =>
      JSON.stringify(link.namespace === '' && /^pl[px]-/.test(link.name) ? link : { mac, ...link }),
    ),
    ...entries.map((entry) => JSON.stringify(entry)),
    ...(firewall.frame ?? []),
    ...firewall.elements.map(({ family, set, key, value }) => `${family} ${set} ${key} ${value}`),
  ].toSorted();
}

const place = ({ namespace, name }: { readonly namespace: string; readonly name: string }) => ({ namespace, name });

test('what somebody changes by hand is as it was after the next look', async () => {
  const reach = new Reach([...KINDS]);
  await fc.assert(
    fc.asyncProperty(networkCase, fc.array(drift, { minLength: 1, maxLength: 5 }), async (given, all) => {
      const simulation = await simulate(given);
      const how = JSON.stringify({ given, all });
      const met: string[] = [];
      const [left, asked] = await simulation.run(async () => {
        const engines = given.hosts.map(({ name }) => [name, engineOn(simulation, name)] as const);
        for (const [name, engine] of engines) await engine.ask(desiredOn(given, name));
        for (const [, engine] of engines) await engine.recover();
        const before = await Promise.all(given.hosts.map(({ name }) => stateOf(simulation, name)));
        for (const each of all)
          if (await drifts(simulation, given.hosts[each.host % given.hosts.length]!.name, each)) met.push(each.what);
        const { clock, store } = simulation.host(given.hosts[0]!.name);
        const end = new AbortController();
        const watching = engines.map(([, engine]) => engine.watch(end.signal));
        await clock.sleep(DRIFT_MS + 2000);
        end.abort();
        await Promise.all(watching);
        const after = await Promise.all(given.hosts.map(({ name }) => stateOf(simulation, name)));
        expect(after, `in ${how}`).toEqual(before);
        const still: string[] = [];
        for (const { name } of given.hosts) {
          const here = await readAsked(store, name);
          const broken = brokenAtRest(here, await readShared(store), await observe(simulation.host(name), here), () => {
            throw new Error('no memory is asked for');
          });
          still.push(...broken.map(({ about, message }) => `${name} ${about}: ${message}`));
        }
        const hostOf = (name: string) => simulation.host(name);
        const world = await worldOf(given, hostOf);
        const questions = questionsOf(world).filter(({ protocol }) => protocol === 'udp');
        return [still, await askAll(world, hostOf, questions, 64, [])] as const;
      });
      expect(left.slice(0, 6), `in ${how}`).toEqual([]);
      expect(differences(asked).slice(0, 6), `in ${how}`).toEqual([]);
      reach.add(met);
    }),
    runs(1000),
  );
  reach.demand();
});
