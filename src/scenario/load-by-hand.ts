import type { FirewallElement } from '../host/firewall.ts';
import { AddressError, type Ipv4Address, parseAddress } from '../host/ipv4.ts';
import type { LinkChange, LinkMove, LinkName, LinkSpec } from '../host/links.ts';
import type { VfKnobs } from '../host/virtual-functions.ts';
import type { BindingOf, ByHand, FdbOf, Holder, Mishap, MoveOf, NeighbourOf } from './by-hand.ts';
import type { ByHandWritten, EntryWritten, LinkWritten, MoveWritten } from './by-hand-fields.ts';
import type { RoutingEntry } from '../host/routing.ts';
import type { Checking } from './checking.ts';
import { hint } from './nearest.ts';
import { knobsOf } from './network-fields.ts';
import type { ScenarioContainer, ScenarioHost } from './scenario.ts';
import type { Path } from './source.ts';

/** What somebody does to a host by hand, its names looked up. */
export function byHandOf(
  checking: Checking,
  written: Omit<ByHandWritten, 'host'>,
  hosts: readonly ScenarioHost[],
  containers: ReadonlyMap<string, ScenarioContainer>,
  path: Path,
): ByHand[] {
  const reader = new Reader(checking, hosts, containers, path);
  const { enable = [], unbind = [], vf = [], bind = [], move = [] } = written;
  const { create = [], set = [], delete: gone = [], add = [], remove = [] } = written;
  const links = create.flatMap((each) => ('namespace' in each || 'qdisc' in each ? [] : [reader.spec(each)]));
  const goneLinks = gone.flatMap((each) => ('link' in each ? [reader.name(each.link, each.netns)] : []));
  const changes: ByHand[] = [
    { verb: 'virtualFunctions.enable', with: enable.map(({ pf, vfs: count }) => ({ pf, count })) },
    { verb: 'virtualFunctions.unbind', with: unbind },
    {
      verb: 'virtualFunctions.set',
      with: vf.map(({ pf, index, set: knobs }) => ({ pf, index, set: allKnobsOf(knobs) })),
    },
    { verb: 'virtualFunctions.bind', with: bind },
    { verb: 'namespaces.create', with: create.flatMap((each) => ('namespace' in each ? [each.namespace] : [])) },
    { verb: 'links.create', with: links },
    { verb: 'mishap', with: mishapsOf(written) },
    { verb: 'links.move', with: move.map(moveOf) },
    { verb: 'links.set', with: set.map((each) => reader.change(each)) },
    { verb: 'links.remove', with: goneLinks },
    { verb: 'namespaces.remove', with: gone.flatMap((each) => ('namespace' in each ? [each.namespace] : [])) },
    { verb: 'routing.add', with: add.flatMap((each) => reader.entry(each)) },
    { verb: 'routing.remove', with: remove.flatMap((each) => reader.entry(each)) },
  ];
  const isAll = remove.some((each) => 'firewall' in each && each.firewall === 'all');
  if (add.some((each) => 'firewall' in each && each.firewall === 'all'))
    checking.problem([...path, 'add'], 'the filter is not laid by hand: name one element of it');
  const come = add.flatMap((each) => reader.element(each));
  const went = remove.flatMap((each) => reader.element(each));
  return [
    ...changes.filter((each) => !('with' in each) || each.with.length > 0),
    ...(isAll || come.length > 0 || went.length > 0
      ? [{ verb: 'firewall.apply', add: come, remove: went, ...(isAll && { frame: null }) } as const]
      : []),
  ];
}

function mishapsOf({
  create = [],
  delete: gone = [],
  flap = [],
  hold = [],
  hide = [],
}: Omit<ByHandWritten, 'host'>): Mishap[] {
  const on = ({ dev, netns = '' }: { dev: string; netns?: string | undefined }) => ({ namespace: netns, name: dev });
  return [
    ...flap.map(({ nic: pf, for: forMs }): Mishap => ({ kind: 'flap', pf, forMs })),
    ...hold.map(({ namespace, for: forMs }): Mishap => ({ kind: 'hold', namespace, forMs })),
    ...hide.map((vf): Mishap => ({ kind: 'hide', vf })),
    ...create.flatMap((each): Mishap[] =>
      'qdisc' in each ? [{ kind: 'qdisc', link: on(each), root: { type: each.qdisc, handle: each.handle } }] : [],
    ),
    ...gone.flatMap((each): Mishap[] => ('qdisc' in each ? [{ kind: 'qdisc', link: on(each), root: null }] : [])),
  ];
}

/** What befalls a card and a namespace can only be arranged where they are modelled. */
export const isSimulatedAlone = ({ flap = [], hold = [], hide = [] }: Omit<ByHandWritten, 'host'>): boolean =>
  flap.length + hold.length + hide.length > 0;

const allKnobsOf = ({ mac, ...knobs }: NonNullable<ByHandWritten['vf']>[number]['set']): Partial<VfKnobs> => ({
  ...knobsOf(knobs),
  ...(mac !== undefined && { mac }),
});

function moveOf({ vf, link, netns = '', to = '', as }: MoveWritten): LinkMove | MoveOf {
  if (vf !== undefined) return { vf, to, ...(as !== undefined && { name: as }) };
  return { namespace: netns, name: link!, to: { namespace: to, name: as ?? link! } };
}

type LinkWrittenSpec = Exclude<NonNullable<ByHandWritten['create']>[number], { namespace: string } | { qdisc: string }>;
type ChangeWritten = NonNullable<ByHandWritten['set']>[number];

class Reader {
  readonly #checking: Checking;
  readonly #hosts: readonly ScenarioHost[];
  readonly #containers: ReadonlyMap<string, ScenarioContainer>;
  readonly #path: Path;

  constructor(
    checking: Checking,
    hosts: readonly ScenarioHost[],
    containers: ReadonlyMap<string, ScenarioContainer>,
    path: Path,
  ) {
    this.#checking = checking;
    this.#hosts = hosts;
    this.#containers = containers;
    this.#path = path;
  }

  spec(written: LinkWrittenSpec): LinkSpec {
    const { mtu, netns = '' } = written;
    const end = { namespace: netns, alias: '', ...(mtu !== undefined && { mtu }) };
    if ('macvlan' in written)
      return { ...end, name: written.macvlan, kind: { type: 'macvlan', parent: written.parent } };
    if ('vxlan' in written) {
      const { vxlan: name, vni, udpPort } = written;
      return { ...end, name, kind: { type: 'vxlan', vni, udpPort, local: this.#address(written.local) } };
    }
    const own = { ...end, ...(written.mac !== undefined && { mac: written.mac }) };
    if ('bridge' in written) return { ...own, name: written.bridge, kind: { type: 'bridge' } };
    const { name, netns: there = '', mtu: size, mac } = written.peer;
    const peer = {
      namespace: there,
      name,
      alias: '',
      ...(size !== undefined && { mtu: size }),
      ...(mac !== undefined && { mac }),
    };
    return { ...own, name: written.veth, kind: { type: 'veth', peer } };
  }

  change({ link, netns, master, ...settings }: ChangeWritten): LinkChange {
    const set = {
      ...Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)),
      ...(master !== undefined && { master: master === null ? null : this.#link(master) }),
    };
    return { ...this.name(link, netns), set };
  }

  name(link: LinkWritten, netns = ''): LinkName {
    return { namespace: netns, name: this.#link(link) };
  }

  /** A line of a table; none where it is of the filter. */
  entry(written: EntryWritten): (RoutingEntry | FdbOf | NeighbourOf)[] {
    if ('firewall' in written || 'bindingOf' in written) return [];
    if ('fdbOf' in written) {
      const of = this.#holder(written.fdbOf);
      const to = written.dst ?? this.#containers.get(of.container)?.host;
      if (to === undefined) return [];
      const destination = this.#address(to);
      return [{ kind: 'fdbOf', of, link: this.#names.vxlan(of.network), destination }];
    }
    if ('neighbourOf' in written) {
      const of = this.#holder(written.neighbourOf);
      const { lladdr: mac } = written;
      return [{ kind: 'neighbourOf', of, link: this.#names.vxlan(of.network), ...(mac !== undefined && { mac }) }];
    }
    const namespace = written.netns ?? '';
    if ('rule' in written) return [{ kind: 'rule', namespace, from: written.rule, table: written.table }];
    const at = { namespace, link: this.#link(written.dev) };
    if ('address' in written) return [{ kind: 'address', ...at, prefix: written.address }];
    if ('neighbour' in written) return [{ kind: 'neighbour', ...at, address: written.neighbour, mac: written.lladdr }];
    if ('proxy' in written) return [{ kind: 'proxy', ...at, address: written.proxy }];
    if ('fdb' in written) {
      const to = written.dst === undefined ? {} : { destination: this.#address(written.dst) };
      return [{ kind: 'fdb', ...at, mac: written.fdb, ...to }];
    }
    const { route: to, via, src: source, table } = written;
    return [
      {
        kind: 'route',
        ...at,
        to,
        ...(via !== undefined && { via }),
        ...(source !== undefined && { source }),
        ...(table !== undefined && { table }),
      },
    ];
  }

  /** An element of the filter; none where it is of another table. */
  element(written: EntryWritten): (FirewallElement | BindingOf)[] {
    if ('bindingOf' in written) {
      const of = this.#holder(written.bindingOf);
      return [{ kind: 'bindingOf', of, port: this.#names.port(of.network, of.container) }];
    }
    if (!('firewall' in written) || written.firewall === 'all') return [];
    const { family, set, key, value } = written.firewall;
    const words = key.map((word) => (typeof word === 'object' ? this.#link(word) : String(word)));
    return [{ family, set, key: words.join(' . '), ...(value !== undefined && { value: value.join(' . ') }) }];
  }

  get #names() {
    return this.#checking.rules.networkNames;
  }

  #link(written: LinkWritten): string {
    if (typeof written === 'string') return written;
    const network = written.bridgeOf ?? written.vxlanOf;
    if (network !== undefined) {
      this.#checking.isNetwork(network, this.#path);
      return written.bridgeOf === undefined ? this.#names.vxlan(network) : this.#names.bridge(network);
    }
    const { container, network: of } = this.#holder(written.portOf!);
    return this.#names.port(of, container);
  }

  /** `c5@office`, or `c5` in its first network. */
  #holder(written: string): Holder {
    const [container = '', named] = written.split('@');
    const isKnown = this.#checking.isContainer(container, this.#path);
    if (named !== undefined) this.#checking.isNetwork(named, this.#path);
    const network = named ?? this.#containers.get(container)?.attachments?.[0]?.network;
    if (isKnown && network === undefined) this.#checking.problem(this.#path, `"${container}" is in no network`);
    return { container, network: network ?? '' };
  }

  /** As it is written, or the address of the host of that name. */
  #address(written: string): Ipv4Address {
    const uplink = this.#hosts.find(({ name }) => name === written)?.uplink;
    if (uplink !== undefined) return uplink.prefix.split('/')[0]!;
    try {
      parseAddress(written);
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      this.#checking.problem(
        this.#path,
        `"${written}" is neither an address nor a host: ${hint(written, this.#checking.hostNames)}`,
      );
    }
    return written;
  }
}
