import { ownNamespaceOf } from '../../../backends/linux/fabric.ts';
import { linuxFirewall } from '../../../backends/linux/firewall.ts';
import type { LinuxHostOptions } from '../../../backends/linux/host.ts';
import { Ledger } from '../../../backends/linux/ledger.ts';
import { linuxLinks } from '../../../backends/linux/links.ts';
import { linuxNamespaces } from '../../../backends/linux/namespaces.ts';
import { NetworkRoot } from '../../../backends/linux/netns.ts';
import { linuxProbes } from '../../../backends/linux/probes.ts';
import { linuxRouting } from '../../../backends/linux/routing.ts';
import { linuxShaper } from '../../../backends/linux/shaper.ts';
import { runTool } from '../../../backends/linux/tool.ts';
import { linuxVirtualFunctions } from '../../../backends/linux/virtual-functions.ts';
import { HostError } from '../../host/errors.ts';
import type { Host } from '../../host/host.ts';
import type { Store } from '../../host/store.ts';
import type { Mishap } from '../../scenario/by-hand.ts';
import type { Bystander } from '../../scenario/run.ts';
import type { ScenarioHost } from '../../scenario/scenario.ts';
import { insightInto } from './bystander.ts';

/** Whose network namespace is a host's own. */
export type Network = NonNullable<LinuxHostOptions['network']>;

interface Beside {
  readonly bystander: Bystander;
  /** Takes away what was laid by hand on the machine itself. */
  readonly clear: () => Promise<void>;
}

/** What reaches into a host beside its engine: handles of their own, which no crash of that touches. */
export function besideEngine(
  name: string,
  mark: string,
  {
    network,
    streamEntry,
    store,
  }: { readonly network: Network; readonly streamEntry: string; readonly store: () => Store },
): Beside {
  const root = new NetworkRoot({ mark, own: network === 'own' ? ownNamespaceOf(mark) : null });
  const tables = {
    links: linuxLinks(root),
    routing: linuxRouting(root),
    firewall: linuxFirewall(root),
    shaper: linuxShaper(root),
  };
  const ledger = network === 'machine' ? new Ledger(tables) : null;
  const { links, routing, firewall, shaper } = ledger ?? tables;
  const laid = new Set<string>();
  const functions = linuxVirtualFunctions(root);
  /** PFs that had no VFs until somebody made some by hand. */
  const given = new Set<string>();
  return {
    bystander: {
      namespaces: linuxNamespaces(root),
      links,
      virtualFunctions: {
        async enable(counts) {
          const asked = new Set(counts.map(({ pf }) => pf));
          const { physical } = await functions.list([]);
          for (const { pf, vfCount } of physical) if (asked.has(pf) && vfCount === 0) given.add(pf);
          return functions.enable(counts);
        },
        set: (changes) => functions.set(changes),
        bind: (names) => functions.bind(names),
        unbind: (names) => functions.unbind(names),
        list: (namespaces) => functions.list(namespaces),
      },
      routing,
      firewall,
      shaper,
      probes: linuxProbes(root, name, streamEntry),
      ...insightInto(name, tables, store),
      async befall(mishap) {
        await befall(root, mishap);
        if (mishap.kind !== 'qdisc' || mishap.link.namespace !== '') return;
        if (mishap.root === null) laid.delete(mishap.link.name);
        else laid.add(mishap.link.name);
      },
    },
    async clear() {
      if (ledger === null) return;
      for (const link of laid) await befall(root, { kind: 'qdisc', link: { namespace: '', name: link }, root: null });
      const { physical } = await functions.list([]);
      const made = physical.filter(({ pf, vfCount }) => given.has(pf) && vfCount > 0);
      const { error } = await functions.enable(made.map(({ pf }) => ({ pf, count: 0 })));
      if (error !== undefined) throw error;
      await ledger.clear();
    },
  };
}

async function befall(root: NetworkRoot, mishap: Mishap): Promise<void> {
  if (mishap.kind !== 'qdisc')
    throw new HostError('EOPNOTSUPP', 'run', mishap.kind, {
      detail: 'only a simulated host can have that befall it: run it with --backend sim',
    });
  const { link, root: laid } = mishap;
  const words =
    laid === null
      ? ['delete', 'dev', link.name, 'root']
      : ['replace', 'dev', link.name, 'root', 'handle', laid.handle, laid.type];
  const { ok, stderr } = await runTool(root, 'tc', ['qdisc', ...words]);
  if (!ok) throw new HostError('EIO', 'run', `tc qdisc ${words.join(' ')}`, { detail: stderr.trim() });
}

/** Has this machine the cards that the scenario speaks of? @throws HostError */
export async function checkCards(
  { name, nics, uplink }: ScenarioHost,
  host: Pick<Host, 'virtualFunctions' | 'routing'>,
): Promise<void> {
  if (nics.length === 0) return;
  const lack = (target: string, detail: string): never => {
    throw new HostError('ENODEV', 'run', `${name}: ${target}`, { detail: `${detail}: run it with --backend sim` });
  };
  const { physical } = await host.virtualFunctions.list([]);
  const cards = physical.map(({ pf, driver }) => `${pf} (${driver})`).join(', ') || 'none';
  for (const { link, driver, totalVfs = 0 } of nics) {
    const card = physical.find(({ pf }) => pf === link);
    if (card === undefined)
      return lack(link, `this machine has no such network card with virtual functions; it has ${cards}`);
    if ((driver ?? card.driver) !== card.driver)
      lack(link, `its driver is ${card.driver}, and the scenario asks for ${driver}`);
    if (card.totalVfs < totalVfs)
      lack(link, `it can have ${card.totalVfs} virtual functions, and the scenario asks for ${totalVfs}`);
  }
  if (uplink === undefined) return;
  const has = (await host.routing.list([''])).some(
    (each) => each.kind === 'address' && each.link === uplink.link && each.prefix === uplink.prefix,
  );
  if (!has)
    lack(uplink.link, `it has no address ${uplink.prefix} (ip address add ${uplink.prefix} dev ${uplink.link})`);
}
