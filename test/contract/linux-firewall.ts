// What a firewall must see that others have done to it by hand, which only a real one can be done to.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { ownNamespaceOf } from '../../backends/linux/fabric.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { elementKey, type FirewallElement, frameLines } from '../../src/host/firewall.ts';
import type { Host } from '../../src/host/host.ts';
import { assertApplied, type ContractCase } from './contract.ts';
import { ODD_FRAME } from './firewall.ts';

const ELEMENTS: readonly FirewallElement[] = [
  { family: 'bridge', set: 'ports', key: 'plp-1' },
  { family: 'inet', set: 'natted', key: '10.0.0.0/24' },
  { family: 'inet', set: 'published', key: 'udp . 80', value: '10.0.0.2 . 8080' },
];

/** Does this to the rules of the host's own namespace by hand. */
const nft = (host: Host, ...commands: string[]): string =>
  execFileSync('nsenter', [`--net=${ownNamespaceOf(runMark(host.name))}`, 'nft', '-a', commands.join('; ')], {
    encoding: 'utf8',
  });

/** The number of the rule of our forward chain whose text holds this. */
function handleOf(host: Host, text: string): string {
  const line = nft(host, 'list chain inet plimsoll forward')
    .split('\n')
    .find((one) => one.includes(text));
  return /# handle (\d+)/.exec(line!)![1]!;
}

const FORWARD = 'inet chain forward: ';

/** What somebody does, and what must be told instead of what was asked. */
const DRIFTS: Readonly<
  Record<
    string,
    { readonly by: (host: Host) => void; readonly gone: readonly string[]; readonly come: readonly (string | RegExp)[] }
  >
> = {
  'a rule deleted': {
    by: (host) => nft(host, `delete rule inet plimsoll forward handle ${handleOf(host, '@ways')}`),
    gone: [`${FORWARD}iifname . ip saddr @ways accept`],
    come: [],
  },
  'a rule added that the port has words for': {
    by: (host) => nft(host, 'insert rule inet plimsoll forward ip daddr 10.0.0.9 drop'),
    gone: [],
    come: [`${FORWARD}ip daddr 10.0.0.9 drop`],
  },
  'a rule added that it has none for': {
    by: (host) => nft(host, 'add rule inet plimsoll forward ip ttl 1 counter accept'),
    gone: [],
    come: [/^inet chain forward: .*"ttl".*"accept"/],
  },
  'a rule edited that has a comment of ours': {
    by: (host) =>
      nft(
        host,
        `replace rule inet plimsoll forward handle ${handleOf(host, 'dport 53')} meta l4proto tcp ip saddr 10.0.0.0/8 th dport 53 accept comment "0 meta l4proto udp"`,
      ),
    gone: [`${FORWARD}meta l4proto udp ip saddr 10.0.0.0/8 th dport 53 accept`],
    come: [/^inet chain forward: .*"comment":"0 meta l4proto udp"/],
  },
  'a link name made a wildcard': {
    by: (host) => nft(host, `replace rule inet plimsoll forward handle ${handleOf(host, 'plb-')} iifname "plb-*" drop`),
    gone: [`${FORWARD}iifname plb-* drop`],
    come: [/^inet chain forward: .*"plb-\*"/],
  },
  'flags compared as a whole': {
    by: (host) =>
      nft(host, `replace rule inet plimsoll forward handle ${handleOf(host, 'ct status')} ct status != dnat drop`),
    gone: [`${FORWARD}ct status != dnat drop`],
    come: [/^inet chain forward: .*"status"/],
  },
  'a policy': {
    by: (host) => nft(host, 'chain inet plimsoll forward { policy drop; }'),
    gone: ['inet chain forward: filter hook forward priority -10'],
    come: [/^inet chain forward: .*"policy":"drop"/],
  },
  'a chain and a set added': {
    by: (host) =>
      nft(host, 'add chain inet plimsoll extra', 'add set inet plimsoll more { type ipv4_addr; comment "ip saddr"; }'),
    gone: [],
    come: ['inet set more: ip saddr', /^inet chain extra: /],
  },
  'a table put to sleep': {
    by: (host) => nft(host, 'table inet plimsoll { flags dormant; }'),
    gone: [],
    come: ['inet table plimsoll: flags 1'],
  },
  'elements deleted, added and mapped otherwise': {
    by: (host) =>
      nft(
        host,
        'delete element inet plimsoll natted { 10.0.0.0/24 }',
        'add element bridge plimsoll ports { "plp-2" }',
        'delete element inet plimsoll published { udp . 80 }',
        'add element inet plimsoll published { udp . 80 : 10.0.0.3 . 8080 }',
      ),
    gone: ['inet natted 10.0.0.0/24', 'inet published udp . 80 : 10.0.0.2 . 8080'],
    come: ['bridge ports plp-2', 'inet published udp . 80 : 10.0.0.3 . 8080'],
  },
  'the table of a family deleted': {
    by: (host) => nft(host, 'delete table bridge plimsoll'),
    gone: [...frameLines(ODD_FRAME).filter((line) => line.startsWith('bridge ')), 'bridge ports plp-1'],
    come: [],
  },
};

/** What `Firewall` promises about what others do. */
export const linuxFirewallContract: readonly ContractCase[] = [
  ...Object.entries(DRIFTS).map(([name, { by, gone, come }]): ContractCase => ({
    name: `drift is seen, and laid over: ${name}`,
    async run({ host }) {
      const lay = { frame: ODD_FRAME, add: ELEMENTS, remove: [] };
      const told = async (): Promise<string[]> => {
        const { frame, elements } = await host.firewall.read();
        return [...frame!, ...elements.map(elementKey)];
      };
      assertApplied(await host.firewall.apply([lay]), 1);
      const before = await told();
      by(host);
      const after = await told();
      assert.deepEqual(
        before.filter((line) => !after.includes(line)),
        gone,
      );
      const added = after.filter((line) => !before.includes(line));
      assert.equal(added.length, come.length, added.join('\n'));
      for (const [index, line] of come.entries()) {
        if (typeof line === 'string') assert.equal(added[index], line);
        else assert.match(added[index]!, line);
      }
      assertApplied(await host.firewall.apply([lay]), 1);
      assert.deepEqual(await told(), before);
    },
  })),
  {
    name: 'elements are made right again without the frame, whatever was done meanwhile',
    async run({ host }) {
      assertApplied(await host.firewall.apply([{ frame: ODD_FRAME, add: ELEMENTS, remove: [] }]), 1);
      DRIFTS['elements deleted, added and mapped otherwise']!.by(host);
      nft(host, 'add element inet plimsoll natted { 10.9.0.1-10.9.0.3 }');
      const { elements } = await host.firewall.read();
      const span = elements.find(({ key }) => key === '10.9.0.1-10.9.0.3')!;
      const remove = [{ family: 'bridge', set: 'ports', key: 'plp-2' } as const, span];
      assertApplied(await host.firewall.apply([{ add: ELEMENTS, remove }]), 1);
      assert.deepEqual((await host.firewall.read()).elements, ELEMENTS);
    },
  },
  {
    name: 'tables of others stay as they are, and are no concern of ours',
    async run({ host }) {
      nft(
        host,
        'add table ip others',
        'add chain ip others forward { type filter hook forward priority 0; policy drop; }',
      );
      const before = nft(host, 'list ruleset');
      assert.deepEqual(await host.firewall.read(), { frame: null, elements: [] });
      assertApplied(await host.firewall.apply([{ frame: ODD_FRAME, add: ELEMENTS, remove: [] }]), 1);
      nft(host, 'add rule ip others forward accept', 'flush chain ip others forward');
      assert.deepEqual((await host.firewall.read()).frame, frameLines(ODD_FRAME));
      assertApplied(await host.firewall.apply([{ frame: null, add: [], remove: [] }]), 1);
      assert.equal(nft(host, 'list ruleset'), before);
    },
  },
];
