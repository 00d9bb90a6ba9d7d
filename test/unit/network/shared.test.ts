import { describe, expect, test } from 'vitest';
import { createStore } from '../../../backends/sim/store.ts';
import { readShared } from '../../../src/engine/sharing.ts';
import type { Store } from '../../../src/host/store.ts';
import type { Attachment } from '../../../src/network/desired.ts';
import { type Claim, claim, isEmpty, type Lease, release } from '../../../src/network/shared.ts';
import { bridge, intranet, overlay } from './specs.ts';

const attached = (network: string, address?: string): readonly Attachment[] => [
  { network, publish: [], ...(address !== undefined && { address }) },
];

async function take(store: Store, asked: Claim): Promise<boolean> {
  return (await store.commit(claim(await readShared(store), asked))).committed;
}

const leases = async (store: Store): Promise<Lease[]> =>
  (await store.read('leases/')).map(({ value }) => JSON.parse(value) as Lease);

const blue = overlay('blue', '10.0.0.0/29');

describe('a claim', () => {
  test('gives each attachment the lowest free address, and a MAC of its own', async () => {
    const store = createStore();
    const containers = ['a', 'b'].map((name) => ({ name, attachments: attached('blue') }));
    await take(store, { host: 'h1', networks: [blue], containers, tunnelAddress: '192.168.77.11' });
    const [a, b] = await leases(store);
    expect(a).toMatchObject({ container: 'a', address: '10.0.0.1', host: 'h1', tunnelAddress: '192.168.77.11' });
    expect(b).toMatchObject({ container: 'b', address: '10.0.0.2' });
    expect(a!.mac).toMatch(/^02(:[0-9a-f]{2}){5}$/);
    expect(a!.mac).not.toBe(b!.mac);
  });

  test('that is fulfilled writes nothing', async () => {
    const store = createStore();
    const asked: Claim = { host: 'h1', networks: [blue], containers: [{ name: 'a', attachments: attached('blue') }] };
    await take(store, asked);
    expect(isEmpty(claim(await readShared(store), asked))).toBe(true);
  });

  test('of two hosts for one address only one commits, and the other then gets another', async () => {
    const store = createStore();
    await take(store, { host: 'h0', networks: [blue], containers: [] });
    const asked = (host: string): Claim => ({
      host,
      networks: [],
      containers: [{ name: 'a', attachments: attached('blue') }],
    });
    const before = await readShared(store);
    const claims = ['h1', 'h2'].map((host) => claim(before, { ...asked(host), networks: [blue] }));
    const committed = await Promise.all(claims.map((each) => store.commit(each)));
    expect(committed.map((each) => each.committed)).toEqual([true, false]);
    await take(store, { ...asked('h2'), networks: [blue] });
    expect((await leases(store)).map(({ host, address }) => `${host} ${address}`)).toEqual([
      'h1 10.0.0.1',
      'h2 10.0.0.2',
    ]);
  });

  test('of a bridge network is each host’s own: the same addresses on both', async () => {
    const store = createStore();
    const web = bridge('web', '10.1.0.0/24');
    for (const host of ['h1', 'h2'])
      await take(store, { host, networks: [web], containers: [{ name: 'a', attachments: attached('web') }] });
    expect((await leases(store)).map(({ host, address }) => `${host} ${address}`)).toEqual([
      'h1 10.1.0.2',
      'h2 10.1.0.2',
    ]);
    expect(new Set((await leases(store)).map(({ mac }) => mac)).size).toBe(2);
  });

  test('of the same segment by two tenants: each overlay a VNI of its own', async () => {
    const store = createStore();
    const red = overlay('red', '10.0.0.0/29');
    await take(store, { host: 'h1', networks: [blue, red], containers: [] });
    const { networks } = await readShared(store);
    expect([networks.get('blue')?.value.vni, networks.get('red')?.value.vni]).toEqual([4096, 4097]);
  });

  test('on a pool that is used up says so, and what to do', async () => {
    const store = createStore();
    const containers = Array.from({ length: 7 }, (_, index) => ({ name: `c${index}`, attachments: attached('blue') }));
    const shared = await readShared(store);
    expect(() => claim(shared, { host: 'h1', networks: [blue], containers })).toThrow(
      /^c6: network blue has no address left: all 6 of 10\.0\.0\.0\/29 are leased; detach something/,
    );
    expect(await store.read('')).toEqual([]);
  });

  test('on an address in use says whose it is', async () => {
    const store = createStore();
    const one = (host: string, name: string): Claim => ({
      host,
      networks: [blue],
      containers: [{ name, attachments: attached('blue', '10.0.0.5') }],
    });
    await take(store, one('h1', 'a'));
    const shared = await readShared(store);
    expect(() => claim(shared, one('h2', 'b'))).toThrow('b: address 10.0.0.5 of network blue is in use by a on h1');
  });

  test('on a network that another host has otherwise is refused', async () => {
    const store = createStore();
    await take(store, { host: 'h1', networks: [blue], containers: [] });
    const shared = await readShared(store);
    expect(() => claim(shared, { host: 'h2', networks: [{ ...blue, internal: true }], containers: [] })).toThrow(
      'network blue: h1 has it otherwise (overlay 10.0.0.0/29, here overlay 10.0.0.0/29 internal)',
    );
  });

  test('after an address was asked for that is not the one leased takes that one', async () => {
    const store = createStore();
    const asked = (address?: string): Claim => ({
      host: 'h1',
      networks: [blue],
      containers: [{ name: 'a', attachments: attached('blue', address) }],
    });
    await take(store, asked());
    await take(store, asked('10.0.0.5'));
    await store.commit(release(await readShared(store), asked('10.0.0.5')));
    expect((await leases(store)).map(({ address }) => address)).toEqual(['10.0.0.5']);
  });
});

describe('a release', () => {
  test('gives back what is not asked for, and keeps what is', async () => {
    const store = createStore();
    const office = intranet('office', '192.168.77.128/30');
    const all: Claim = {
      host: 'h1',
      networks: [blue, office],
      containers: [
        { name: 'a', attachments: [...attached('blue'), ...attached('office')] },
        { name: 'b', attachments: attached('blue') },
      ],
    };
    await take(store, all);
    const less: Claim = { ...all, networks: [blue], containers: [{ name: 'b', attachments: attached('blue') }] };
    await store.commit(release(await readShared(store), less));
    expect((await leases(store)).map(({ container }) => container)).toEqual(['b']);
    expect((await store.read('networks/')).map(({ key }) => key)).toEqual(['networks/blue']);
    expect(await store.read('macs/')).toHaveLength(1);
  });

  test('leaves a network that another host uses, and the last one takes it with its VNI', async () => {
    const store = createStore();
    for (const host of ['h1', 'h2']) await take(store, { host, networks: [blue], containers: [] });
    await store.commit(release(await readShared(store), { host: 'h1', networks: [], containers: [] }));
    expect((await readShared(store)).networks.get('blue')?.value.hosts).toEqual(['h2']);
    await store.commit(release(await readShared(store), { host: 'h2', networks: [], containers: [] }));
    expect(await store.read('')).toEqual([]);
  });
});
