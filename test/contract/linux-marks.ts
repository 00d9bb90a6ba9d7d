// The marks of a real kernel's packets: whose counts, and where they are lost.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { ownNamespaceOf } from '../../backends/linux/fabric.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import {
  AF_INET,
  openSocket,
  sendEnvelope,
  setOption,
  SOCK_DGRAM,
  socketAddress,
} from '../../backends/linux/syscalls.ts';
import type { FirewallFamily } from '../../src/host/firewall.ts';
import type { Host } from '../../src/host/host.ts';
import { type Ipv4Address, parseAddress } from '../../src/host/ipv4.ts';
import { markOf } from '../../src/host/shaper.ts';
import { ADDRESS_THERE, assertApplied, type ContractCase, type ContractFixture } from './contract.ts';
import { buildWays, markOfWay, UPLINK, type WayOut, WAYS } from './firewall-marks.ts';
import { address, addEntries, makeLinks, makeNamespaces, PORT, setLinks } from './network.ts';
import { addAll, filter, qdisc, shaperClass } from './shaper.ts';

/** include/uapi/asm-generic/socket.h */
const SOL_SOCKET = 1;
const SO_MARK = 36;

const COUNT = 16;
/** A class that somebody else has. */
const COVETED = 9;

/** Sends datagrams whose socket has this mark, as whoever has CAP_NET_RAW in the namespace may (sk_setsockopt). */
function sendMarked(host: Host, namespace: string, to: Ipv4Address, mark: number): void {
  const own = runMark(host.name);
  const root = new NetworkRoot({ mark: own, own: ownNamespaceOf(own) });
  const socket = root.within(namespace, () => openSocket(AF_INET, SOCK_DGRAM, 0));
  try {
    setOption(socket, SOL_SOCKET, SO_MARK, mark);
    const remote = socketAddress(parseAddress(to), PORT);
    for (let sent = 0; sent < COUNT; sent++)
      assert.ok(sendEnvelope(socket, { remote, local: 0, bytes: Buffer.alloc(100) }) > 0);
  } finally {
    closeSync(socket);
  }
}

interface Witness {
  readonly namespace: string;
  readonly family: FirewallFamily;
  readonly hook: string;
  readonly priority: number;
  /** What it counts, a condition of nft's each. */
  readonly counts: readonly string[];
}

/** Tables of the test's own with a chain of counters: what each counted of UDP, in order. */
class Witnesses {
  readonly #mark: string;

  constructor(host: Host) {
    this.#mark = runMark(host.name);
  }

  lay(name: string, { namespace, family, hook, priority, counts }: Witness): void {
    const rules = counts.map((condition) => `meta l4proto udp ${condition} counter`).join('; ');
    const chain = `chain c { type filter hook ${hook} priority ${priority}; ${rules}; }`;
    this.#nft(namespace, ['-f', '-'], `table ${family} ${name} {\n${chain}\n}\n`);
  }

  read(name: string, { namespace, family }: Witness): number[] {
    const listed = this.#nft(namespace, ['list', 'table', family, name]);
    return Array.from(listed.matchAll(/counter packets (\d+)/g), ([, packets]) => Number(packets));
  }

  #nft(namespace: string, args: readonly string[], input = ''): string {
    const file = namespace === '' ? this.#mark : `${this.#mark}+${namespace}`;
    return execFileSync('ip', ['netns', 'exec', file, 'nft', ...args], { encoding: 'utf8', input });
  }
}

const counted = async ({ host }: ContractFixture): Promise<Record<string, number>> =>
  Object.fromEntries((await host.shaper.counters([UPLINK])).map(({ minor, sentPackets }) => [minor, sentPackets]));

const shapeUplink = (fixture: ContractFixture): Promise<void> =>
  addAll(fixture, [
    qdisc(UPLINK, 1),
    ...[1, 3, 4, 5, COVETED].map((minor) => shaperClass(UPLINK, minor)),
    filter(UPLINK),
  ]);

/** What only a real machine can show of marks. */
export const linuxMarksContract: readonly ContractCase[] = [
  ...(Object.keys(WAYS) as WayOut[]).map((way): ContractCase => ({
    name: `a mark that the sender gives its socket is lost where it leaves its namespace, ours is there: ${way}`,
    async run(fixture) {
      const { host, settle } = fixture;
      await buildWays(fixture);
      await shapeUplink(fixture);
      const { port, family, minor, to } = WAYS[way];
      const coveted = markOf(COVETED);
      const witnesses = new Witnesses(host);
      const within = {
        namespace: way,
        family: 'inet',
        hook: 'output',
        priority: 0,
        counts: [`meta mark ${coveted}`],
      } as const;
      const arriving: Witness = {
        namespace: '',
        family,
        hook: 'prerouting',
        priority: -310,
        counts: ['0', coveted].map((mark) => `iifname ${port} meta mark ${mark}`),
      };
      const leaving: Witness = {
        namespace: '',
        family: 'inet',
        hook: 'postrouting',
        priority: 200,
        counts: [markOf(minor), coveted].map((mark) => `oifname eth0 meta mark ${mark}`),
      };
      witnesses.lay('within', within);
      witnesses.lay('arriving', arriving);
      witnesses.lay('leaving', leaving);

      sendMarked(host, way, to, Number(coveted));
      assert.deepEqual(witnesses.read('within', within), [COUNT]);
      assert.deepEqual(witnesses.read('arriving', arriving), [COUNT, 0]);
      assert.deepEqual(witnesses.read('leaving', leaving), [0, 0]);
      assert.equal((await counted(fixture))[COVETED], 0);

      assertApplied(await settle(() => host.firewall.apply([{ add: [markOfWay(way)], remove: [] }])), 1);
      sendMarked(host, way, to, Number(coveted));
      assert.deepEqual(witnesses.read('within', within), [2 * COUNT]);
      assert.deepEqual(witnesses.read('arriving', arriving), [2 * COUNT, 0]);
      assert.deepEqual(witnesses.read('leaving', leaving), [COUNT, 0]);
      const { [minor]: ours, [COVETED]: theirs } = await counted(fixture);
      assert.deepEqual([ours, theirs], [COUNT, 0]);
    },
  })),
  {
    // Its frames pass no chain of the host's: who may mark packets in such a namespace chooses the class.
    name: 'a macvlan’s packets keep the mark of their sender on the way out, and nothing of the host’s sees them before the uplink',
    async run(fixture) {
      const { host } = fixture;
      await fixture.another('other');
      await shapeUplink(fixture);
      await makeNamespaces(fixture, ['intranet']);
      const end = { namespace: 'intranet', name: 'net1' };
      await makeLinks(fixture, [{ ...end, alias: 'contract', kind: { type: 'macvlan', parent: 'eth0' } }]);
      await setLinks(fixture, [{ ...end, set: { up: true } }]);
      await addEntries(fixture, [address('intranet', 'net1', '192.168.77.50/24')]);
      sendMarked(host, 'intranet', ADDRESS_THERE.split('/')[0]!, Number(markOf(COVETED)));
      await fixture.waitUntil(async () => (await counted(fixture))[COVETED] === COUNT, 'all to have left');
    },
  },
];
