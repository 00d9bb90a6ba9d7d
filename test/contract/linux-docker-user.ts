// A firewall beside Docker's: its rules are laid as dockerd lays them, with the same tool.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { ownNamespaceOf } from '../../backends/linux/fabric.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { frameLines } from '../../src/host/firewall.ts';
import type { Host } from '../../src/host/host.ts';
import { assertApplied, assertRefused, type ContractCase } from './contract.ts';
import { ODD_FRAME } from './firewall.ts';

/** What dockerd 20.10 to 27 leaves in the filter and nat tables of a host with its default bridge. */
export const DOCKERS = `*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
`;

const inside = (host: Host, command: string, args: readonly string[], input?: string): string =>
  execFileSync('nsenter', [`--net=${ownNamespaceOf(runMark(host.name))}`, command, ...args], {
    encoding: 'utf8',
    ...(input === undefined ? {} : { input }),
  });

/** All rules of all tables, less counters and comments. */
const saved = (host: Host, variant: string): string[] =>
  ['nat', 'filter'].flatMap((table) =>
    inside(host, `iptables-${variant}-save`, ['-t', table])
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.replace(/ \[\d+:\d+\]$/, '')),
  );

const LAY = { frame: ODD_FRAME, add: [], remove: [] };
const AWAY = { frame: null, add: [], remove: [] };

const cases = (variant: 'nft' | 'legacy'): ContractCase[] => [
  {
    name: `${variant}: six rules of ours come to the head of DOCKER-USER and go, Docker's own stay as they are`,
    async run({ host }) {
      inside(host, `iptables-${variant}-restore`, [], DOCKERS);
      const before = saved(host, variant);
      assert.deepEqual(await host.firewall.read(), { frame: null, elements: [] });
      assertApplied(await host.firewall.apply([LAY]), 1);
      assert.deepEqual((await host.firewall.read()).frame, frameLines(ODD_FRAME));
      const ours = saved(host, variant).filter((line) => line.includes('plimsoll'));
      assert.deepEqual(
        ours,
        ['plb-+', 'plp-+', 'plx-+'].flatMap((link) =>
          ['-i', '-o'].map((way) => `-A DOCKER-USER ${way} ${link} -m comment --comment plimsoll -j ACCEPT`),
        ),
      );
      const chain = inside(host, `iptables-${variant}`, ['-S', 'DOCKER-USER']).trim().split('\n');
      assert.deepEqual(chain, ['-N DOCKER-USER', ...ours, '-A DOCKER-USER -j RETURN']);
      assert.deepEqual(
        saved(host, variant).filter((line) => !line.includes('plimsoll')),
        before,
      );
      assertApplied(await host.firewall.apply([LAY, AWAY]), 2);
      assert.deepEqual(saved(host, variant), before);
    },
  },
  {
    name: `${variant}: rules of ours that Docker has swept away, or has come before, are drift; rules left behind too`,
    async run({ host }) {
      assertApplied(await host.firewall.apply([LAY]), 1);
      const drifted = async (): Promise<string[]> => {
        const { frame } = await host.firewall.read();
        return frame!.filter((line) => !frameLines(ODD_FRAME).includes(line));
      };
      const missing = [`DOCKER-USER (iptables-${variant}): our links are not let pass at its head`];
      assert.deepEqual(await drifted(), []);
      inside(host, `iptables-${variant}-restore`, [], DOCKERS);
      assert.deepEqual(await drifted(), missing);
      assertApplied(await host.firewall.apply([LAY]), 1);
      assert.deepEqual(await drifted(), []);
      inside(host, `iptables-${variant}`, ['-I', 'DOCKER-USER', '-i', 'plb-+', '-j', 'DROP']);
      assert.deepEqual(await drifted(), missing);
      assertApplied(await host.firewall.apply([LAY]), 1);
      assert.deepEqual(await drifted(), []);
      inside(host, 'nft', ['delete table inet plimsoll; delete table bridge plimsoll']);
      assert.deepEqual(await drifted(), [`DOCKER-USER (iptables-${variant}): rules of ours are left`]);
      assertApplied(await host.firewall.apply([AWAY]), 1);
      assert.deepEqual(await host.firewall.read(), { frame: null, elements: [] });
    },
  },
  {
    name: `${variant}: where the frame is refused by the kernel, Docker's chain is as it was`,
    async run({ host }) {
      inside(host, `iptables-${variant}-restore`, [], DOCKERS);
      const before = saved(host, variant);
      // A word of nft's own, by which no chain can be called.
      const chain = { ...ODD_FRAME.chains[0]!, rules: [{ when: [], verdict: 'accept' as const }] };
      const word = { ...chain, family: 'inet' as const, hook: 'forward' as const, name: 'dynamic' };
      const result = await host.firewall.apply([{ ...LAY, frame: { sets: [], chains: [word] } }]);
      assertRefused(result, {
        applied: 0,
        code: 'EINVAL',
        operation: 'firewall.apply',
        target: 'inet chain dynamic: filter hook forward priority -300',
      });
      assert.deepEqual(saved(host, variant), before);
    },
  },
];

/** What a firewall does where Docker is. */
export const linuxDockerUserContract: readonly ContractCase[] = [...cases('nft'), ...cases('legacy')];
