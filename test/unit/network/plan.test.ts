import { describe, expect, test } from 'vitest';
import { frameLines } from '../../../src/host/firewall.ts';
import type { LinkState } from '../../../src/host/links.ts';
import type { Step } from '../../../src/host/steps.ts';
import { NOTHING_HELD } from '../../../src/network/functions.ts';
import { type HostNetworks, NO_NETWORKS, pictureOf as pictured } from '../../../src/network/host-network.ts';
import { bridgeName, isOurs, macOf, portName, vxlanName } from '../../../src/network/names.ts';
import type { NetworkObserved } from '../../../src/network/observe.ts';
import type { Picture } from '../../../src/network/picture.ts';
import { planNetwork } from '../../../src/network/plan.ts';
import { intranet, overlay } from './specs.ts';

const NO_FUNCTIONS = { physical: [], virtual: [] };
const uplink = { link: 'eth0', address: '192.168.77.11', bits: 24, mtu: 1500 };
const endpoint = (container: string, network: string, link: string, address: string) => ({
  container,
  namespace: container,
  network,
  link,
  address,
  mac: macOf(address),
  publish: [],
  secondary: false,
});

const NETWORKS: HostNetworks = {
  uplink,
  networks: [
    {
      spec: overlay('blue', '10.0.0.0/24'),
      vni: 4096,
      peers: [{ address: '10.0.0.9', mac: macOf('far'), tunnelAddress: '192.168.77.12' }],
    },
    { spec: intranet('office', '192.168.77.128/25'), peers: [] },
  ],
  endpoints: [endpoint('web', 'blue', 'eth0', '10.0.0.1'), endpoint('web', 'office', 'eth1', '192.168.77.128')],
  namespaces: ['web'],
  held: NOTHING_HELD,
};
const NOTHING_THERE: NetworkObserved = {
  namespaces: [],
  links: [],
  entries: [],
  firewall: { frame: null, elements: [] },
  functions: NO_FUNCTIONS,
};
/** Nothing of the host's own cards. */
const pictureOf = (networks: HostNetworks): Picture => pictured(networks, NOTHING_THERE);
const picture = pictureOf(NETWORKS);

const wire: LinkState = {
  namespace: '',
  name: 'eth0',
  type: 'veth',
  up: true,
  carrier: true,
  mtu: 1500,
  mac: '02:00:00:00:00:11',
  alias: '',
  master: null,
  learning: true,
  hairpin: false,
  forwarding: false,
  ipv6: false,
  qdisc: 'noqueue',
};
const EMPTY: NetworkObserved = {
  namespaces: [],
  links: [wire],
  entries: [{ kind: 'address', namespace: '', link: 'eth0', prefix: '192.168.77.11/24' }],
  firewall: { frame: null, elements: [] },
  functions: NO_FUNCTIONS,
};

/** What is observed when everything is as in the picture. */
const asIn = ({ namespaces, links, entries, frame, elements }: Picture): NetworkObserved => ({
  namespaces,
  links: [
    { ...wire, ...links.find(({ name, namespace }) => namespace === '' && name === 'eth0')?.settings },
    ...links
      .filter(({ name, namespace }) => !(namespace === '' && name === 'eth0'))
      .map(({ namespace, name, kind, settings }): LinkState => ({
        ...wire,
        mac: '02:00:00:00:00:99',
        namespace,
        name,
        type: kind === undefined || kind.type === 'vf' ? 'veth' : kind.type,
        ...(kind?.type === 'vxlan' && { vni: kind.vni, local: kind.local, udpPort: kind.udpPort }),
        ...settings,
      })),
  ],
  entries: [...EMPTY.entries, ...entries],
  firewall: { frame: frame && frameLines(frame), elements },
  functions: NO_FUNCTIONS,
});

const steps = (observed: NetworkObserved, wanted = picture): Step[] =>
  (['stop', 'detach', 'machine', 'attach', 'start'] as const).flatMap(
    (phase) => planNetwork(wanted, observed)[phase]?.flat() ?? [],
  );
const verbs = (observed: NetworkObserved, wanted = picture): string[] => [
  ...new Set(steps(observed, wanted).map(({ verb }) => verb)),
];

describe('the plan', () => {
  test('is empty where everything is as it should be', () => expect(steps(asIn(picture))).toEqual([]));

  test('lays the filter before any link, and makes links before they are set up', () => {
    const all = steps(EMPTY);
    const at = (verb: string): number => all.findIndex((step) => step.verb === verb);
    expect(at('firewall.apply')).toBe(0);
    expect(at('links.create')).toBeLessThan(at('links.set'));
    expect(at('namespaces.create')).toBeLessThan(
      all.findIndex((step) => step.verb === 'links.create' && step.with.kind.type === 'veth'),
    );
  });

  test('takes everything away where nothing is asked for, links before the filter that held them back', () => {
    const all = steps(asIn(picture), pictureOf(NO_NETWORKS));
    const removed = all.flatMap((step) => (step.verb === 'links.remove' ? [step.with.name] : []));
    expect(removed.toSorted()).toEqual(
      [bridgeName('blue'), vxlanName('blue'), portName('blue', 'web'), portName('office', 'web')].toSorted(),
    );
    expect(all.at(-1)).toMatchObject({ verb: 'firewall.apply', with: { frame: null } });
    expect(all.flatMap((step) => (step.verb === 'routing.remove' ? [step.with] : []))).toContainEqual({
      kind: 'proxy',
      namespace: '',
      link: 'eth0',
      address: '192.168.77.128',
    });
    expect(verbs(asIn(picture), pictureOf(NO_NETWORKS))).not.toContain('links.create');
  });

  test('leaves links, routes and addresses of others alone', () => {
    const observed = asIn(picture);
    const foreign = { ...wire, name: 'docker0', type: 'bridge' as const };
    const route = { kind: 'route' as const, namespace: '', link: 'docker0', to: '172.17.0.0/16' };
    expect(steps({ ...observed, links: [...observed.links, foreign], entries: [...observed.entries, route] })).toEqual(
      [],
    );
  });

  test('repairs an FDB entry that is gone, and nothing else', () => {
    const observed = asIn(picture);
    const entries = observed.entries.filter((entry) => !(entry.kind === 'fdb' && entry.destination !== undefined));
    expect(steps({ ...observed, entries })).toMatchObject([
      { verb: 'routing.add', with: { kind: 'fdb', destination: '192.168.77.12' } },
    ]);
  });

  test('removes an FDB entry that somebody added', () => {
    const observed = asIn(picture);
    const stray = {
      kind: 'fdb',
      namespace: '',
      link: vxlanName('blue'),
      mac: macOf('stray'),
      destination: '192.168.77.13',
    } as const;
    expect(steps({ ...observed, entries: [...observed.entries, stray] })).toMatchObject([
      { verb: 'routing.remove', with: stray },
    ]);
  });

  test('lays the filter anew where a rule was edited, with all elements', () => {
    const observed = asIn(picture);
    const frame = observed.firewall.frame!.filter((line) => !line.includes('closed'));
    expect(steps({ ...observed, firewall: { ...observed.firewall, frame } })).toMatchObject([
      { verb: 'firewall.apply', with: { frame: {}, add: picture.elements } },
    ]);
  });

  test('makes a pair anew where one end is gone, with what stood on both', () => {
    const observed = asIn(picture);
    const links = observed.links.filter(({ namespace, name }) => !(namespace === 'web' && name === 'eth0'));
    const all = steps({ ...observed, links });
    expect(all).toContainEqual(
      expect.objectContaining({ verb: 'links.remove', with: { namespace: '', name: portName('blue', 'web') } }),
    );
    expect(all.flatMap((step) => (step.verb === 'routing.add' ? [step.with.kind] : []))).toEqual(['address']);
  });

  test('makes a VXLAN anew that ends elsewhere than the uplink', () => {
    const observed = asIn(picture);
    const links = observed.links.map((link) => (link.type === 'vxlan' ? { ...link, local: '192.168.77.99' } : link));
    expect(verbs({ ...observed, links })).toEqual(['links.remove', 'links.create', 'links.set', 'routing.add']);
  });

  test('sets right an MTU that somebody changed', () => {
    const observed = asIn(picture);
    const links = observed.links.map((link) => (link.type === 'bridge' ? { ...link, mtu: 1500 } : link));
    expect(steps({ ...observed, links })).toMatchObject([
      { verb: 'links.set', with: { name: bridgeName('blue'), set: { mtu: 1450 } } },
    ]);
  });
});

describe('names', () => {
  test('fit the kernel, differ, and are known again', () => {
    const names = Array.from({ length: 2000 }, (_, index) => portName('blue', `container-with-a-long-name-${index}`));
    expect(new Set(names).size).toBe(names.length);
    expect(names.every((name) => name.length === 15 && isOurs({ name, alias: '' }))).toBe(true);
    expect(isOurs({ name: 'plb', alias: '' })).toBe(false);
    expect(isOurs({ name: 'eth0', alias: 'plimsoll endpoint blue web' })).toBe(true);
  });
});
