// Generated networks on real namespaces of this machine: hosts on a fabric, engines with Linux hosts on one store.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeFabric, removeNetwork } from '../../backends/linux/fabric.ts';
import { type LinuxHost, openLinuxHost } from '../../backends/linux/host.ts';
import { openSqliteStore, type SqliteStore } from '../../backends/store/sqlite.ts';
import { Engine } from '../../src/engine/engine.ts';
import { DOCKERS } from '../contract/linux-docker-user.ts';
import { entries } from '../contract/linux-host.ts';
import { type NetworkCase, OUTSIDE, uplinkAddress } from '../property/network-cases.ts';
import { askAll, type Asked, differences, type HostOf, OUTSIDE_HOST } from '../property/network-matrix.ts';
import type { Question, World } from '../property/network-oracle.ts';
import { makeOutside } from '../property/network-run.ts';

export const noPolicy = (): never => {
  throw new Error('no memory is asked for');
};

/** Gives the mark of a host, or of the fabric, by its name. */
export type MarkOf = (name: string) => string;

const FABRIC = 'fabric';

/** The hosts of a case and the machine outside, open. */
export class RealFleet {
  readonly #hosts = new Map<string, LinuxHost>();
  readonly #store: SqliteStore;
  readonly #folder: string;
  readonly #markOf: MarkOf;

  private constructor(markOf: MarkOf, folder: string) {
    this.#markOf = markOf;
    this.#folder = folder;
    this.#store = openSqliteStore(join(folder, 'store'));
  }

  /** Makes and opens everything. */
  static async make(given: NetworkCase, markOf: MarkOf, folder = newFolder()): Promise<RealFleet> {
    const fleet = await RealFleet.#open(given, markOf, folder);
    try {
      await fleet.#join(given);
      return fleet;
    } catch (error) {
      await fleet.close();
      throw error;
    }
  }

  /** Opens what a process made that is dead. */
  static takeOver(given: NetworkCase, markOf: MarkOf, folder: string): Promise<RealFleet> {
    return RealFleet.#open(given, markOf, folder);
  }

  static async #open(given: NetworkCase, markOf: MarkOf, folder: string): Promise<RealFleet> {
    const fleet = new RealFleet(markOf, folder);
    try {
      for (const name of namesOf(given)) {
        const options = { name, root: markOf(name), entries, store: fleet.#store };
        fleet.#hosts.set(name, await openLinuxHost(options));
      }
      return fleet;
    } catch (error) {
      await fleet.close();
      throw error;
    }
  }

  async #join(given: NetworkCase): Promise<void> {
    await makeFabric(
      this.#markOf(FABRIC),
      namesOf(given).map((name, index) => ({
        mark: this.#markOf(name),
        prefix: `${name === OUTSIDE_HOST ? OUTSIDE : uplinkAddress(index)}/24`,
        mtu: 1500,
        link: 'eth0',
      })),
    );
    for (const [index, { name, foreignForward, bridgeNfCallIptables }] of given.hosts.entries()) {
      const mark = this.#markOf(name);
      if (foreignForward === 'drop') within(mark, `iptables-${index % 2 === 0 ? 'nft' : 'legacy'}-restore`, DOCKERS);
      // It is each namespace's own (net/bridge/br_netfilter_hooks.c, since Linux 5.3).
      within(mark, `echo ${bridgeNfCallIptables ? 1 : 0} > /proc/sys/net/bridge/bridge-nf-call-iptables`);
      if (given.routed)
        await this.hostOf(name).routing.add([
          { kind: 'route', namespace: '', link: 'eth0', to: '0.0.0.0/0', via: OUTSIDE },
        ]);
    }
    await makeOutside(given, this.hostOf);
  }

  readonly hostOf = (name: string): LinuxHost => this.#hosts.get(name)!;

  engineOn(name: string): Engine {
    return new Engine(this.hostOf(name), { policies: noPolicy, sink: () => undefined, zeroMs: 0 });
  }

  /** Takes everything away. */
  async close(): Promise<void> {
    for (const host of this.#hosts.values()) await host.close();
    await removeNetwork(this.#markOf(FABRIC));
    this.#store.close();
    rmSync(this.#folder, { recursive: true });
  }
}

/** Asks all by real packets, and again who should have been answered: on a busy machine an answer may come too late. */
export async function askReal(
  world: World,
  hostOf: HostOf,
  questions: readonly Question[],
  payloadBytes: number,
): Promise<Asked[]> {
  const asked = await askAll(world, hostOf, questions, payloadBytes, [OUTSIDE_HOST]);
  const unanswered = new Set(asked.filter((each) => each.said?.by != null && differences([each]).length > 0));
  if (unanswered.size === 0) return asked;
  const again = [...unanswered].map(({ question }) => question);
  return [
    ...asked.filter((each) => !unanswered.has(each)),
    ...(await askAll(world, hostOf, again, payloadBytes, [OUTSIDE_HOST])),
  ];
}

export const newFolder = (): string => mkdtempSync(join(tmpdir(), 'plimsoll-fleet-'));

const namesOf = ({ hosts }: NetworkCase): string[] => [...hosts.map(({ name }) => name), OUTSIDE_HOST];

const within = (mark: string, script: string, input = ''): void =>
  void execFileSync('ip', ['netns', 'exec', mark, 'sh', '-ec', script], { input });
