import assert from 'node:assert/strict';
import {
  type FirewallChain,
  type FirewallElement,
  type FirewallFrame,
  type FirewallMatch,
  type FirewallState,
  type FirewallVerdict,
  elementKey,
  frameLines,
  ruleText,
} from '../../src/host/firewall.ts';
import { FRAME } from '../../src/network/frame.ts';
import { assertApplied, assertRefused, type ContractCase, type ContractFixture } from './contract.ts';

/** Every field, both kinds of condition, prefixes, maps of one and of two fields, marks, and names that need care. */
export const ODD_FRAME: FirewallFrame = {
  sets: [
    { family: 'inet', name: 'ways', fields: ['iifname', 'ip saddr'], intervals: true },
    { family: 'inet', name: 'natted', fields: ['ip saddr'], intervals: true },
    { family: 'inet', name: 'pairs', fields: ['iifname', 'oifname'] },
    { family: 'inet', name: 'published', fields: ['meta l4proto', 'th dport'], to: ['ip daddr', 'th dport'] },
    { family: 'inet', name: 'moved', fields: ['ip daddr'], to: ['ip daddr'] },
    { family: 'bridge', name: 'ports', fields: ['iifname'] },
    { family: 'bridge', name: 'bindings', fields: ['iifname', 'ether saddr', 'ip saddr'] },
    { family: 'bridge', name: 'marks', fields: ['iifname', 'ip saddr'], to: ['meta mark'] },
    { family: 'inet', name: 'marked', fields: ['meta mark'] },
    { family: 'inet', name: 'remarked', fields: ['ip saddr', 'meta mark'], to: ['meta mark'] },
  ],
  chains: [
    {
      family: 'bridge',
      name: 'prerouting',
      type: 'filter',
      hook: 'prerouting',
      priority: -300,
      rules: [
        { when: [], verdict: { mark: { map: 'marks', by: ['iifname', 'ip saddr'] } } },
        { when: [{ fields: ['iifname'], not: true, is: { set: 'ports' } }], verdict: 'accept' },
        {
          when: [
            { fields: ['ether type'], is: { value: 'ip' } },
            { fields: ['iifname', 'ether saddr', 'ip saddr'], is: { set: 'bindings' } },
          ],
          verdict: 'accept',
        },
        {
          when: [
            { fields: ['arp saddr ip'], is: { value: '10.0.0.1' } },
            { fields: ['arp saddr ether'], not: true, is: { value: '02:70:6c:00:00:01' } },
            { fields: ['iifname', 'arp saddr ether', 'arp saddr ip'], is: { set: 'bindings' } },
          ],
          verdict: 'drop',
        },
        { when: [{ fields: ['ether type'], not: true, is: { value: 'arp' } }], verdict: 'drop' },
        {
          when: [{ fields: ['ether type'], is: { value: 'ip' } }],
          verdict: { mark: { map: 'marks', by: ['iifname', 'ip saddr'] } },
        },
      ],
    },
    {
      family: 'inet',
      name: 'prerouting',
      type: 'nat',
      hook: 'prerouting',
      priority: -100,
      rules: [
        { when: [], verdict: { dnat: { map: 'moved', by: ['ip daddr'] } } },
        {
          when: [{ fields: ['fib daddr type'], is: { value: 'local' } }],
          verdict: { dnat: { map: 'published', by: ['meta l4proto', 'th dport'] } },
        },
      ],
    },
    {
      family: 'inet',
      name: 'forward',
      type: 'filter',
      hook: 'forward',
      priority: -10,
      rules: [
        { when: [{ fields: ['ct state'], is: { value: 'related,established' } }], verdict: 'accept' },
        { when: [{ fields: ['ct state'], not: true, is: { value: 'new' } }], verdict: 'accept' },
        { when: [{ fields: ['ct status'], not: true, is: { value: 'dnat' } }], verdict: 'drop' },
        {
          when: [
            { fields: ['meta l4proto'], is: { value: 'udp' } },
            { fields: ['ip saddr'], is: { value: '10.0.0.0/8' } },
            { fields: ['th dport'], is: { value: '53' } },
          ],
          verdict: 'accept',
        },
        { when: [{ fields: ['iifname', 'oifname'], not: true, is: { set: 'pairs' } }], verdict: 'drop' },
        { when: [{ fields: ['iifname'], is: { value: 'plb-*' } }], verdict: 'drop' },
        { when: [{ fields: ['iifname', 'ip saddr'], is: { set: 'ways' } }], verdict: 'accept' },
        { when: [{ fields: ['meta mark'], is: { value: '0x504c0003' } }], verdict: 'accept' },
        { when: [{ fields: ['meta mark'], not: true, is: { value: '0x00000000' } }], verdict: 'accept' },
        {
          when: [{ fields: ['meta mark'], not: true, is: { set: 'marked' } }],
          verdict: { mark: { map: 'remarked', by: ['ip saddr', 'meta mark'] } },
        },
      ],
    },
    {
      family: 'inet',
      name: 'postrouting',
      type: 'nat',
      hook: 'postrouting',
      priority: 100,
      rules: [{ when: [{ fields: ['ip saddr'], is: { set: 'natted' } }], verdict: 'masquerade' }],
    },
  ],
};

const inSet = (set: string, key: string): FirewallElement => ({ family: 'inet', set, key });
const publish = (port: number, value: string): FirewallElement => ({
  ...inSet('published', `udp . ${port}`),
  value,
});
const marking = (key: string, value: string): FirewallElement => ({ family: 'bridge', set: 'marks', key, value });
const binding: FirewallElement = { family: 'bridge', set: 'bindings', key: 'plp-1 . 02:70:6c:00:00:01 . 10.0.0.1' };

const apply = async (
  { host, settle }: ContractFixture,
  change: Partial<{ frame: FirewallFrame | null; add: FirewallElement[]; remove: FirewallElement[] }>,
): Promise<void> => assertApplied(await settle(() => host.firewall.apply([{ add: [], remove: [], ...change }])), 1);

const keys = ({ elements }: FirewallState): string[] => elements.map(elementKey);

/** What another tool lists, less quotation marks and how it breaks lines. */
const listed = async ({ readBack }: ContractFixture): Promise<string> =>
  (await readBack.firewallText()).replaceAll('"', '').replaceAll(/\s+/g, ' ').trim();

/** What `Firewall` promises. */
export const firewallContract: readonly ContractCase[] = [
  {
    name: 'where nothing was laid, nothing is read, and taking it away is no error',
    async run(fixture) {
      const nothing = { frame: null, elements: [] };
      assert.deepEqual(await fixture.host.firewall.read(), nothing);
      await apply(fixture, { frame: null });
      await apply(fixture, {});
      assert.deepEqual(await fixture.host.firewall.read(), nothing);
      assert.equal(await listed(fixture), '');
    },
  },
  ...Object.entries({ 'the frame of the networks': FRAME, 'a frame of every condition': ODD_FRAME }).map(
    ([name, frame]): ContractCase => ({
      name: `${name} is laid, reads back line by line, and goes without a trace`,
      async run(fixture) {
        const { firewall } = fixture.host;
        await apply(fixture, { frame });
        assert.deepEqual(await firewall.read(), { frame: frameLines(frame), elements: [] });
        const text = await listed(fixture);
        for (const { name } of frame.sets) assert.match(text, new RegExp(`(?:set|map) ${name}\\b`));
        for (const chain of frame.chains) assert.match(text, new RegExp(`chain ${chain.name}\\b`));
        await apply(fixture, { frame });
        assert.deepEqual((await firewall.read()).frame, frameLines(frame));
        await apply(fixture, { frame: null });
        assert.deepEqual(await firewall.read(), { frame: null, elements: [] });
        assert.equal(await listed(fixture), '');
      },
    }),
  ),
  {
    name: 'a frame of nothing is a frame',
    async run(fixture) {
      await apply(fixture, { frame: { sets: [], chains: [] } });
      assert.deepEqual(await fixture.host.firewall.read(), { frame: [], elements: [] });
    },
  },
  {
    name: 'elements come and go; one that is there, or gone, is no error; of a map, another value replaces',
    async run(fixture) {
      const { firewall } = fixture.host;
      await apply(fixture, { frame: ODD_FRAME, add: [inSet('natted', '10.0.0.0/24'), binding] });
      await apply(fixture, {
        add: [inSet('natted', '10.0.0.0/24'), inSet('natted', '10.9.0.7'), inSet('ways', 'pl* . 10.0.0.0/8')],
      });
      await apply(fixture, { add: [publish(80, '10.0.0.2 . 8080'), publish(53, '10.0.0.2 . 53')] });
      const all = [
        'bridge bindings plp-1 . 02:70:6c:00:00:01 . 10.0.0.1',
        'inet natted 10.0.0.0/24',
        'inet natted 10.9.0.7',
        'inet published udp . 53 : 10.0.0.2 . 53',
        'inet published udp . 80 : 10.0.0.2 . 8080',
        'inet ways pl* . 10.0.0.0/8',
      ];
      assert.deepEqual(keys(await firewall.read()), all);
      const text = await listed(fixture);
      for (const key of all) assert.ok(text.includes(key.split(' ').slice(2).join(' ')), `${key} in ${text}`);

      await apply(fixture, { add: [publish(80, '10.0.0.3 . 8081')], remove: [inSet('natted', '10.9.0.7')] });
      await apply(fixture, {
        remove: [inSet('natted', '10.9.0.7'), publish(53, '9.9.9.9 . 9'), inSet('natted', '1.2.3.4')],
      });
      assert.deepEqual(keys(await firewall.read()), [
        'bridge bindings plp-1 . 02:70:6c:00:00:01 . 10.0.0.1',
        'inet natted 10.0.0.0/24',
        'inet published udp . 80 : 10.0.0.3 . 8081',
        'inet ways pl* . 10.0.0.0/8',
      ]);
      assert.doesNotMatch(await listed(fixture), /10\.9\.0\.7|10\.0\.0\.2/);
    },
  },
  {
    name: 'the mark that an element maps to comes, is replaced and goes; marks are elements themselves',
    async run(fixture) {
      const { firewall } = fixture.host;
      await apply(fixture, { frame: ODD_FRAME, add: [marking('plp-1 . 10.0.0.1', '0x504c0001')] });
      // Now that all is known, these few go another way than the frame did.
      await apply(fixture, {
        add: [
          marking('plp-1 . 10.0.0.1', '0x504cfffe'),
          marking('plp-2 . 10.0.0.1', '0x504c0002'),
          marking('plp-3 . 10.0.0.1', '0xffffffff'),
          inSet('marked', '0x00000007'),
          { ...inSet('remarked', '10.0.0.1 . 0x504c0002'), value: '0x504c0003' },
        ],
      });
      const all = [
        'bridge marks plp-1 . 10.0.0.1 : 0x504cfffe',
        'bridge marks plp-2 . 10.0.0.1 : 0x504c0002',
        'bridge marks plp-3 . 10.0.0.1 : 0xffffffff',
        'inet marked 0x00000007',
        'inet remarked 10.0.0.1 . 0x504c0002 : 0x504c0003',
      ];
      const text = await listed(fixture);
      for (const key of all) assert.ok(text.includes(key.split(' ').slice(2).join(' ')), `${key} in ${text}`);
      assert.doesNotMatch(text, /0x504c0001/);
      assert.deepEqual(keys(await firewall.read()), all);
      await apply(fixture, { frame: ODD_FRAME, add: [marking('plp-2 . 10.0.0.1', '0x504c0002')] });
      assert.deepEqual(keys(await firewall.read()), all.slice(1, 2));

      await apply(fixture, { remove: [marking('plp-2 . 10.0.0.1', '0x00000000')] });
      assert.deepEqual(keys(await firewall.read()), []);
      assert.doesNotMatch(await listed(fixture), /0x504c0002/);
    },
  },
  {
    name: 'one change that removes an element and adds it leaves it there',
    async run(fixture) {
      const element = inSet('natted', '10.0.0.0/24');
      await apply(fixture, { frame: ODD_FRAME, add: [element] });
      await apply(fixture, { add: [element], remove: [element] });
      assert.deepEqual(keys(await fixture.host.firewall.read()), ['inet natted 10.0.0.0/24']);
    },
  },
  {
    name: 'a frame takes the place of everything: elements, rules, and sets of other fields',
    async run(fixture) {
      await apply(fixture, { frame: ODD_FRAME, add: [binding, inSet('natted', '10.0.0.0/24')] });
      const frame: FirewallFrame = {
        sets: [{ family: 'inet', name: 'natted', fields: ['oifname', 'ip daddr'] }],
        chains: [{ ...ODD_FRAME.chains[2]!, rules: [] }],
      };
      await apply(fixture, { frame, add: [inSet('natted', 'eth0 . 10.0.0.1')] });
      assert.deepEqual(await fixture.host.firewall.read(), {
        frame: frameLines(frame),
        elements: [inSet('natted', 'eth0 . 10.0.0.1')],
      });
      assert.doesNotMatch(await listed(fixture), /bridge|published|10\.0\.0\.0/);
    },
  },
  {
    name: 'a change of which one element cannot be is not made at all: EINVAL, ENOENT',
    async run(fixture) {
      const { host, settle } = fixture;
      await apply(fixture, { frame: ODD_FRAME, add: [binding] });
      const before = [await host.firewall.read(), await listed(fixture)];
      const good = [inSet('natted', '10.7.0.0/16'), publish(80, '10.0.0.2 . 8080')];
      const bad: readonly (readonly ['EINVAL' | 'ENOENT', FirewallElement])[] = [
        ['EINVAL', inSet('natted', '10.0.0.256')],
        ['EINVAL', inSet('natted', '10.0.0.1/24')],
        ['EINVAL', inSet('natted', '10.0.0.1 . 80')],
        ['EINVAL', inSet('natted', '')],
        ['EINVAL', inSet('pairs', 'sixteen-letters- . lo')],
        ['EINVAL', { family: 'bridge', set: 'ports', key: 'a b' }],
        ['EINVAL', { family: 'bridge', set: 'ports', key: 'x" }; flush ruleset; #' }],
        ['EINVAL', { ...binding, key: 'plp-1 . 02:70:6c:00:00 . 10.0.0.1' }],
        ['EINVAL', { ...binding, key: 'plp-1 . 02:70:6c:00:00:01 . 10.0.0.0/24' }],
        ['EINVAL', inSet('published', 'udp . 80')],
        ['EINVAL', publish(65_536, '10.0.0.2 . 80')],
        ['EINVAL', publish(80, '10.0.0.2')],
        ['EINVAL', { ...inSet('natted', '10.0.0.1'), value: '10.0.0.2' }],
        ['EINVAL', marking('plp-1 . 10.0.0.1', '3')],
        ['EINVAL', marking('plp-1 . 10.0.0.1', '0x3')],
        ['EINVAL', marking('plp-1 . 10.0.0.1', '0x504c00030')],
        ['EINVAL', inSet('marked', '0x504C0003')],
        ['ENOENT', inSet('nosuch', '10.0.0.1')],
        ['ENOENT', { ...inSet('natted', '10.0.0.1'), family: 'bridge' }],
      ];
      for (const [code, element] of bad) {
        const result = await settle(() => host.firewall.apply([{ add: [...good, element], remove: [binding] }]));
        assertRefused(result, { applied: 0, code, operation: 'firewall.apply', target: elementKey(element) });
        assert.deepEqual([await host.firewall.read(), await listed(fixture)], before, elementKey(element));
      }
    },
  },
  {
    name: 'changes before one that cannot be are made, those after it are not tried',
    async run(fixture) {
      const { host, settle } = fixture;
      await apply(fixture, { frame: ODD_FRAME });
      const adding = (...add: FirewallElement[]) => ({ add, remove: [] });
      const result = await settle(() =>
        host.firewall.apply([
          adding(inSet('natted', '10.1.0.0/16')),
          adding(inSet('natted', '10.2.0.0/16'), inSet('nosuch', '10.2.0.1')),
          adding(inSet('natted', '10.3.0.0/16')),
        ]),
      );
      assertRefused(result, {
        applied: 1,
        code: 'ENOENT',
        operation: 'firewall.apply',
        target: 'inet nosuch 10.2.0.1',
      });
      assert.deepEqual(keys(await host.firewall.read()), ['inet natted 10.1.0.0/16']);
      assert.doesNotMatch(await listed(fixture), /10\.[23]\.0\.0/);
    },
  },
  {
    name: 'where nothing is laid, there is no set to put an element into: ENOENT',
    async run({ host, settle }) {
      const result = await settle(() => host.firewall.apply([{ add: [inSet('natted', '10.0.0.1')], remove: [] }]));
      assertRefused(result, {
        applied: 0,
        code: 'ENOENT',
        operation: 'firewall.apply',
        target: 'inet natted 10.0.0.1',
      });
      assert.deepEqual(await host.firewall.read(), { frame: null, elements: [] });
    },
  },
  {
    name: 'a frame that makes no sense is refused, and what is there stays: EINVAL',
    async run(fixture) {
      const { host, settle } = fixture;
      await apply(fixture, { frame: ODD_FRAME, add: [binding] });
      const before = await host.firewall.read();
      const forward = ODD_FRAME.chains[2]!;
      const withRule = (
        chain: FirewallChain,
        match: FirewallMatch | null,
        verdict: FirewallVerdict = 'drop',
      ): readonly [FirewallFrame, string] => {
        const rule = { when: match === null ? [] : [match], verdict };
        const frame = { sets: ODD_FRAME.sets, chains: [{ ...chain, rules: [rule] }] };
        return [frame, `${chain.family} chain ${chain.name}: ${ruleText(rule)}`];
      };
      for (const [frame, target] of [
        withRule(forward, { fields: ['ip saddr'], is: { set: 'nosuch' } }),
        withRule(forward, { fields: ['ip saddr'], is: { set: 'ways' } }),
        withRule(forward, { fields: ['ip saddr'], is: { value: '10.0.0.300' } }),
        withRule(forward, { fields: ['iifname', 'ip saddr'], is: { value: 'lo . 10.0.0.1' } }),
        withRule(ODD_FRAME.chains[0]!, { fields: ['iifname'], is: { set: 'pairs' } }),
        withRule(forward, { fields: ['meta mark'], is: { value: '3' } }),
        withRule(forward, null, { mark: { map: 'marks', by: ['iifname', 'ip saddr'] } }),
        withRule(forward, null, { mark: { map: 'remarked', by: ['ip saddr'] } }),
        withRule(forward, null, { mark: { map: 'moved', by: ['ip daddr'] } }),
        withRule(ODD_FRAME.chains[1]!, null, { mark: { map: 'remarked', by: ['ip saddr', 'meta mark'] } }),
        withRule(ODD_FRAME.chains[1]!, null, { dnat: { map: 'remarked', by: ['ip saddr', 'meta mark'] } }),
      ] as const) {
        const result = await settle(() => host.firewall.apply([{ frame, add: [], remove: [] }]));
        assertRefused(result, { applied: 0, code: 'EINVAL', operation: 'firewall.apply', target });
        assert.deepEqual(await host.firewall.read(), before, target);
      }
    },
  },
];
