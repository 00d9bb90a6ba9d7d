// The firewall kept in iptables and ipset, as where there is no nft.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { ownNamespaceOf } from '../../backends/linux/fabric.ts';
import { linuxFirewall } from '../../backends/linux/firewall.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import {
  elementKey,
  type Firewall,
  type FirewallElement,
  type FirewallFrame,
  frameLines,
} from '../../src/host/firewall.ts';
import type { Host } from '../../src/host/host.ts';
import { assertApplied, assertRefused, type ContractCase } from './contract.ts';
import { ODD_FRAME } from './firewall.ts';
import { firewallPacketsContract } from './firewall-packets.ts';

const inside = (host: Host, command: string, ...args: string[]): string =>
  execFileSync('nsenter', [`--net=${ownNamespaceOf(runMark(host.name))}`, command, ...args], { encoding: 'utf8' });

function fallbackOf(host: Host): Firewall {
  const mark = runMark(host.name);
  return linuxFirewall(new NetworkRoot({ mark, own: ownNamespaceOf(mark) }), 'iptables');
}

/** What of the odd frame iptables has words for, sets that no kind of ipset holds among it. */
const FRAME: FirewallFrame = {
  sets: [
    ...ODD_FRAME.sets.filter(({ family }) => family === 'inet'),
    { family: 'inet', name: 'ours', fields: ['iifname'] },
    { family: 'inet', name: 'served', fields: ['ip daddr', 'meta l4proto', 'th dport'] },
  ],
  chains: [
    ...ODD_FRAME.chains.filter(({ family, name }) => family === 'inet' && name !== 'forward'),
    {
      family: 'inet',
      name: 'forward',
      type: 'filter',
      hook: 'forward',
      priority: -10,
      rules: [
        { when: [{ fields: ['ct state'], is: { value: 'established,related' } }], verdict: 'accept' },
        { when: [{ fields: ['ct status'], not: true, is: { value: 'dnat' } }], verdict: 'accept' },
        { when: [{ fields: ['iifname', 'oifname'], is: { set: 'pairs' } }], verdict: 'accept' },
        { when: [{ fields: ['ip daddr', 'meta l4proto', 'th dport'], is: { set: 'served' } }], verdict: 'accept' },
        {
          when: [
            { fields: ['iifname', 'ip saddr'], not: true, is: { set: 'ways' } },
            { fields: ['oifname'], is: { set: 'ours' } },
            { fields: ['meta l4proto'], is: { value: 'udp' } },
            { fields: ['th dport'], not: true, is: { value: '53' } },
            { fields: ['ip saddr'], is: { value: '10.0.0.0/8' } },
          ],
          verdict: 'drop',
        },
      ],
    },
  ],
};

const element = (set: string, key: string, value?: string): FirewallElement => ({
  family: 'inet',
  set,
  key,
  ...(value === undefined ? {} : { value }),
});
const ELEMENTS: readonly FirewallElement[] = [
  element('moved', '10.9.9.9', '10.0.0.3'),
  element('natted', '10.0.0.0/24'),
  element('natted', '10.0.1.7'),
  element('ours', 'plb-1'),
  element('pairs', 'plb-1 . plb-1'),
  element('published', 'udp . 80', '10.0.0.2 . 8080'),
  element('served', '10.0.0.2 . udp . 53'),
  element('ways', 'plb-1 . 10.0.0.0/24'),
];

const told = async (firewall: Firewall): Promise<string[]> => {
  const { frame, elements } = await firewall.read();
  return [...(frame ?? []), ...elements.map(elementKey)];
};

const LAY = { frame: FRAME, add: ELEMENTS, remove: [] };
const AWAY = { frame: null, add: [], remove: [] };
const ALL = [...frameLines(FRAME), ...ELEMENTS.map(elementKey)];

/** What somebody does by hand, and what is told of it. */
const DRIFTS: Readonly<Record<string, readonly [command: string, come: RegExp]>> = {
  'a rule deleted': ['iptables-legacy -t mangle -D PLIMSOLL-forward 1', /^iptables mangle PLIMSOLL-forward: /],
  'a rule added': [
    'iptables-legacy -t mangle -A PLIMSOLL-forward -j DROP',
    /^iptables mangle PLIMSOLL-forward: .*-j DROP/,
  ],
  'a rule of a map deleted': [
    'iptables-legacy -t nat -F PLIMSOLL-prerouting.1',
    /^iptables nat PLIMSOLL-prerouting\.1: $/,
  ],
  'a jump deleted': [
    'iptables-legacy -t mangle -D FORWARD -m comment --comment plimsoll -j PLIMSOLL-forward',
    /^iptables mangle FORWARD jumps: not there/,
  ],
  'a rule before ours': [
    'iptables-legacy -t mangle -I FORWARD -i x -j ACCEPT',
    /^iptables mangle FORWARD jumps late: PLIMSOLL-forward$/m,
  ],
};

/** What a firewall does where there is no nft. */
export const linuxIptablesContract: readonly ContractCase[] = [
  {
    name: 'a frame and elements are laid, read back by another, changed, and go without a trace',
    async run({ host }) {
      const firewall = fallbackOf(host);
      assert.deepEqual(await firewall.read(), { frame: null, elements: [] });
      assertApplied(await firewall.apply([LAY]), 1);
      assert.deepEqual(await told(fallbackOf(host)), ALL);
      assert.match(inside(host, 'iptables-legacy-save'), /-d 10\.9\.9\.9\/32 -j DNAT --to-destination 10\.0\.0\.3\n/);
      assert.match(inside(host, 'ipset', 'save'), /10\.0\.0\.0\/24,plb-1/);
      assertApplied(
        await firewall.apply([
          {
            add: [
              element('published', 'udp . 80', '10.0.0.9 . 80'),
              element('natted', '10.0.1.7'),
              element('ours', 'plb-2'),
            ],
            remove: [
              element('ways', 'plb-1 . 10.0.0.0/24'),
              element('pairs', 'plb-1 . plb-1'),
              element('ours', 'plb-9'),
            ],
          },
        ]),
        1,
      );
      const after = await told(fallbackOf(host));
      assert.deepEqual(
        after.filter((line) => !ALL.includes(line)),
        ['inet ours plb-2', 'inet published udp . 80 : 10.0.0.9 . 80'],
      );
      assert.equal(after.length, ALL.length - 1);
      assert.match(
        inside(host, 'iptables-legacy-save'),
        /-p udp -m udp --dport 80 -j DNAT --to-destination 10\.0\.0\.9:80\n/,
      );
      assertApplied(await firewall.apply([LAY]), 1);
      assert.deepEqual(await told(fallbackOf(host)), ALL);
      assertApplied(await firewall.apply([AWAY, AWAY]), 2);
      assert.deepEqual(await firewall.read(), { frame: null, elements: [] });
      assert.doesNotMatch(inside(host, 'iptables-legacy-save') + inside(host, 'ipset', 'save'), /PLIMSOLL|plimsoll/);
    },
  },
  {
    name: 'what it cannot express is refused, naming it and what would bring it: EOPNOTSUPP',
    async run({ host }) {
      const firewall = fallbackOf(host);
      assertApplied(await firewall.apply([LAY]), 1);
      const before = [await told(firewall), inside(host, 'ipset', 'save')];
      const refused = await firewall.apply([{ frame: ODD_FRAME, add: [], remove: [] }]);
      assertRefused(refused, {
        applied: 0,
        code: 'EOPNOTSUPP',
        operation: 'firewall.apply',
        target: 'bridge set ports: iifname',
      });
      assert.match(refused.error!.message, /CONFIG_NF_TABLES_BRIDGE/);
      const odd = { ...ODD_FRAME.chains[2]!, rules: ODD_FRAME.chains[2]!.rules.slice(4, 5) };
      assertRefused(await firewall.apply([{ frame: { sets: FRAME.sets, chains: [odd] }, add: [], remove: [] }]), {
        applied: 0,
        code: 'EOPNOTSUPP',
        operation: 'firewall.apply',
        target: 'inet chain forward: iifname . oifname != @pairs drop',
      });
      const marking = {
        sets: [{ family: 'inet', name: 'marks', fields: ['iifname', 'ip saddr'], to: ['meta mark'] }],
        chains: [
          {
            family: 'inet',
            name: 'marking',
            type: 'filter',
            hook: 'prerouting',
            priority: -150,
            rules: [{ when: [], verdict: { mark: { map: 'marks', by: ['iifname', 'ip saddr'] } } }],
          },
        ],
      } as const satisfies FirewallFrame;
      assertRefused(await firewall.apply([{ frame: marking, add: [], remove: [] }]), {
        applied: 0,
        code: 'EOPNOTSUPP',
        operation: 'firewall.apply',
        target: 'inet chain marking: meta mark set iifname . ip saddr map @marks',
      });
      assert.deepEqual([await told(firewall), inside(host, 'ipset', 'save')], before);
    },
  },
  {
    name: 'a refusal half way puts back what was there',
    async run({ host }) {
      const firewall = fallbackOf(host);
      assertApplied(await firewall.apply([LAY]), 1);
      const before = await told(firewall);
      // Of one network it holds 64 links: the 65th refuses the whole.
      const many = Array.from({ length: 80 }, (_, index) => element('ours', `plb-${index + 10}`));
      const gone = [element('natted', '10.0.0.0/24')];
      const { applied, error } = await firewall.apply([{ add: many, remove: gone }]);
      assert.deepEqual([applied, error?.code], [0, 'ENOSPC']);
      assert.deepEqual(await told(fallbackOf(host)), before);
      const anew = await firewall.apply([{ frame: FRAME, add: many, remove: [] }]);
      assert.deepEqual([anew.applied, anew.error?.code], [0, 'ENOSPC']);
      assert.deepEqual(await told(fallbackOf(host)), before);
      // The tool itself refuses the last table, when the others are done: ICMP has no ports.
      const last = { ...FRAME.chains.find(({ name }) => name === 'postrouting')!, priority: 200 };
      const rule = {
        when: [
          { fields: ['meta l4proto'], is: { value: 'icmp' } },
          { fields: ['th dport'], is: { value: '1' } },
        ],
        verdict: 'masquerade',
      } as const;
      const broken = { ...FRAME, chains: [...FRAME.chains, { ...last, name: 'broken', rules: [rule] }] };
      const half = await firewall.apply([{ frame: broken, add: [], remove: [] }]);
      assert.deepEqual([half.applied, half.error?.code], [0, 'EINVAL']);
      assert.deepEqual(await told(fallbackOf(host)), before);
      assert.doesNotMatch(inside(host, 'ipset', 'save'), /PLIMSOLL\.b\./);
    },
  },
  ...Object.entries(DRIFTS).map(([name, [command, come]]): ContractCase => ({
    name: `drift is seen, and laid over: ${name}`,
    async run({ host }) {
      const firewall = fallbackOf(host);
      assertApplied(await firewall.apply([LAY]), 1);
      inside(host, ...(command.split(' ') as [string, ...string[]]));
      const added = (await told(firewall)).filter((line) => !ALL.includes(line));
      assert.match(added.join('\n'), come);
      assertApplied(await firewall.apply([LAY]), 1);
      assert.deepEqual(await told(firewall), ALL);
    },
  })),
  ...firewallPacketsContract.map((contractCase): ContractCase => ({
    name: contractCase.name,
    run: (fixture) => contractCase.run({ ...fixture, host: { ...fixture.host, firewall: fallbackOf(fixture.host) } }),
  })),
];
