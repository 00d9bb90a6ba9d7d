import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeFabric } from '../../backends/linux/fabric.ts';
import { type LinuxHost, openLinuxHost } from '../../backends/linux/host.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { type EtcdStore, openEtcdStore } from '../../backends/store/etcd.ts';
import { Engine } from '../../src/engine/engine.ts';
import type { Observation } from '../../src/engine/observation.ts';
import type { RoutingEntry } from '../../src/host/routing.ts';
import type { Lease } from '../../src/network/shared.ts';
import { type EtcdServer, startEtcd, whyNoEtcd } from '../contract/etcd-server.ts';
import { entries } from '../contract/linux-host.ts';
import { overlay } from '../unit/network/specs.ts';

const reason = process.geteuid?.() === 0 ? whyNoEtcd() : 'network namespaces take root';
if (reason !== null) process.stdout.write(`skipped: networks of several hosts on etcd: ${reason}\n`);

const HOSTS = ['h1', 'h2'];
/** A pool of six: soon used up. */
const NETWORK = overlay('blue', '10.0.0.0/29');
const PORT = 7;

interface Member {
  readonly host: LinuxHost;
  readonly store: EtcdStore;
  readonly engine: Engine;
  readonly told: Observation[];
  readonly watching: AbortController;
}

describe.skipIf(reason !== null)('two hosts that share an etcd', () => {
  let etcd: EtcdServer;
  let members: Member[] = [];

  beforeEach(async () => {
    etcd = await startEtcd(1);
    const marks = HOSTS.map((name) => runMark(name));
    const links = marks.map((mark, index) => ({
      mark,
      prefix: `192.168.77.${11 + index}/24`,
      mtu: 1500,
      link: 'eth0',
    }));
    await makeFabric(marks[0]!, links);
    members = [];
    for (const [index, name] of HOSTS.entries()) members.push(await join(name, marks[index]!));
  }, 60_000);

  afterEach(async () => {
    for (const { watching, store, host } of members) {
      watching.abort();
      store.close();
      await host.close();
    }
    await etcd.close();
  }, 60_000);

  async function join(name: string, root: string): Promise<Member> {
    const store = await openEtcdStore({ endpoints: etcd.endpoints });
    const host = await openLinuxHost({ name, root, entries, store });
    const told: Observation[] = [];
    const engine = new Engine(host, {
      policies: () => {
        throw new Error('no memory is asked for');
      },
      sink: (observation) => told.push(observation),
      zeroMs: host.clock.monotonicMs(),
    });
    return { host, store, engine, told, watching: new AbortController() };
  }

  const ask = (member: Member, names: readonly string[], address?: string): Promise<void> =>
    member.engine.ask({
      memory: null,
      network: { networks: [NETWORK] },
      containers: [],
      endpoints: names.map((name) => ({
        name,
        attachments: [{ network: 'blue', publish: [], ...(address !== undefined && { address }) }],
      })),
    });

  const leases = async ({ store }: Member): Promise<Lease[]> =>
    (await store.read('leases/')).map(({ value }) => JSON.parse(value) as Lease);

  /** Who answers on the other host, once its engine knows of the new endpoint; null after a while of nobody. */
  async function answerer(from: Member, name: string, to: string, wanted: string | null): Promise<string | null> {
    const places = members.map(({ host }) => host.namespaces.list());
    const answering = await Promise.all(
      members.map(async ({ host }, index) =>
        host.probes.answer((await places[index]!).map((namespace) => ({ namespace, port: PORT }))),
      ),
    );
    try {
      for (let tries = 0; ; tries++) {
        const [result] = await from.host.probes.send([{ from: name, to, protocol: 'udp', port: PORT }]);
        if (result!.answeredBy === wanted || tries === 20) return result!.answeredBy;
        await sleep(50);
      }
    } finally {
      for (const each of answering) await each.close();
    }
  }

  test('reach each other’s containers as soon as they are attached, and never lease one address', async () => {
    const [h1, h2] = members as [Member, Member];
    for (const { engine, watching } of members) void engine.watch(watching.signal);
    await ask(h1, ['h1a']);
    await Promise.all([ask(h1, ['h1a', 'h1b']), ask(h2, ['h2a', 'h2b'])]);
    const all = await leases(h1);
    expect(new Set(all.map(({ address }) => address)).size).toBe(4);
    expect(new Set(all.map(({ mac }) => mac)).size).toBe(4);
    const to = all.find(({ container }) => container === 'h2b')!.address;
    expect(await answerer(h1, 'h1a', to, 'h2/h2b')).toBe('h2/h2b');
    await ask(h2, ['h2a']);
    expect(await answerer(h1, 'h1a', to, null)).toBe(null);
  });

  test('a pool that is used up is told, and nothing is half-done', async () => {
    const [h1, h2] = members as [Member, Member];
    await ask(h1, ['h1a', 'h1b', 'h1c', 'h1d']);
    await expect(ask(h2, ['h2a', 'h2b', 'h2c'])).rejects.toThrow(/h2c: network blue has no address left: all 6/);
    expect((await leases(h1)).every(({ host }) => host === 'h1')).toBe(true);
    expect((await h2.host.links.list([''])).map(({ name }) => name)).toEqual(['eth0', 'lo']);
    await ask(h2, ['h2a', 'h2b']);
    expect(await leases(h1)).toHaveLength(6);
  });

  test('with etcd down what runs goes on, what is new is refused in words, and comes when etcd is back', async () => {
    const [h1, h2] = members as [Member, Member];
    await ask(h1, ['h1a']);
    await ask(h2, ['h2a']);
    await h1.engine.recover();
    const to = (await leases(h1)).find(({ container }) => container === 'h2a')!.address;
    await etcd.members[0]!.kill();
    await expect(ask(h1, ['h1a', 'h1b'])).rejects.toThrow(/store\.\w+ .*(?:EAGAIN|ETIMEDOUT)/);
    const isFdb = (entry: RoutingEntry): boolean => entry.kind === 'fdb' && entry.destination !== undefined;
    await h1.host.routing.remove((await h1.host.routing.list([''])).filter(isFdb));
    await h1.engine.recover();
    expect((await h1.host.routing.list([''])).filter(isFdb)).toHaveLength(1);
    expect(h1.told.some((each) => each.kind === 'note' && each.about === 'trouble')).toBe(true);
    expect(await answerer(h1, 'h1a', to, 'h2/h2a')).toBe('h2/h2a');
    expect(await h1.host.namespaces.list()).toEqual(['h1a']);
    await etcd.members[0]!.start();
    await ask(h1, ['h1a', 'h1b']);
    expect((await leases(h1)).map(({ container }) => container).toSorted()).toEqual(['h1a', 'h1b', 'h2a']);
  });

  test('a host that was taken for dead loses its addresses, and does not take back what is another’s', async () => {
    const [h1, h2] = members as [Member, Member];
    await ask(h1, ['h1a'], '10.0.0.5');
    // What its session's end does, which comes when it has not been renewed for its time.
    const [session] = await h1.store.read('hosts/h1/session');
    await h1.store.endSession(session!.value);
    await ask(h2, ['h2a'], '10.0.0.5');
    await h1.engine.recover();
    expect((await leases(h1)).map(({ host, address }) => `${host} ${address}`)).toEqual(['h2 10.0.0.5']);
    const trouble = h1.told.flatMap((each) => (each.kind === 'note' && each.about === 'trouble' ? [each.message] : []));
    expect(trouble).toEqual(['h1a: address 10.0.0.5 of network blue is in use by h2a on h2: choose another']);
    expect((await h1.host.links.list(['h1a'])).map(({ name }) => name)).toEqual(['lo']);
  });
});
