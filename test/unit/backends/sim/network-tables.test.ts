import { expect, test } from 'vitest';
import type { HostError } from '../../../../src/host/errors.ts';
import { EngineCrash } from '../../../../src/host/errors.ts';
import { entryKey, type RoutingEntry } from '../../../../src/host/routing.ts';
import { simulate } from './harness.ts';
import { add, bridge, container, done, hostsOnFabric, icmp, make, sent, set, udp, whyNot } from './lab.ts';

const codeOf = ({ error }: { error?: HostError }): string | undefined => error?.code;

// Each was seen on Linux 6.18 with iproute2 before it was modelled.
test('a link that goes down takes its routes, neighbours and proxies along; its addresses stay, and stay local', async () => {
  const host = hostsOnFabric(1).host('h1');
  await container(host, 'a', '10.0.0.1/24');
  const at = { namespace: 'a', link: 'eth0' };
  const kept: RoutingEntry[] = [{ kind: 'address', ...at, prefix: '10.0.0.1/24' }];
  await add(
    host,
    { kind: 'route', ...at, to: '10.9.0.0/24', via: '10.0.0.2' },
    { kind: 'neighbour', ...at, address: '10.0.0.77', mac: '02:00:00:00:00:77' },
    { kind: 'proxy', ...at, address: '10.0.0.78' },
  );
  await set(host, 'eth0', { up: false }, 'a');
  expect((await host.routing.list(['a'])).map(entryKey)).toEqual(kept.map(entryKey));
  expect((await sent(host, icmp('a', '10.0.0.1'))).answeredBy).toBe('kernel');
  expect(await whyNot(host, icmp('a', '10.0.0.2'))).toBe('no route to 10.0.0.2 in h1/a (ENETUNREACH)');
  const route: RoutingEntry = { kind: 'route', ...at, to: '10.9.0.0/24', via: '10.0.0.2' };
  expect(codeOf(await host.routing.add([route]))).toBe('ENETDOWN');
  await add(host, { kind: 'neighbour', ...at, address: '10.0.0.79', mac: '02:00:00:00:00:79' });
  await set(host, 'eth0', { up: true }, 'a');
  expect((await host.routing.list(['a'])).map(({ kind }) => kind)).toEqual(['address', 'neighbour']);
});

test('a route is refused where one leads there, its source is not here or its gateway is; with its source it goes', async () => {
  const host = hostsOnFabric(1).host('h1');
  await container(host, 'a', '10.0.0.1/24');
  const at = { kind: 'route', namespace: 'a', link: 'eth0' } as const;
  expect(codeOf(await host.routing.add([{ ...at, to: '10.0.0.0/24' }]))).toBe('EEXIST');
  expect(codeOf(await host.routing.add([{ ...at, to: '10.4.0.0/24', source: '10.77.0.1' }]))).toBe('EINVAL');
  expect(codeOf(await host.routing.add([{ ...at, to: '10.4.0.0/24', via: '10.0.0.1' }]))).toBe('EINVAL');
  const second: RoutingEntry = { kind: 'address', namespace: 'a', link: 'eth0', prefix: '10.5.0.1/24' };
  await add(host, second, { ...at, to: '10.4.0.0/24', source: '10.5.0.1' });
  done(await host.routing.remove([second]));
  expect((await host.routing.list(['a'])).map(({ kind }) => kind)).toEqual(['address']);
});

test('a bridge has the lowest MAC and the least MTU of its ports unless somebody chose; carrier by its ports', async () => {
  const host = hostsOnFabric(1).host('h1');
  await bridge(host, 'br0');
  const br0 = async () => (await host.links.list([''])).find(({ name }) => name === 'br0')!;
  expect(await br0()).toMatchObject({ carrier: true, mtu: 1500 });
  await container(host, 'a', '10.0.0.1/24', { bridge: 'br0', mtu: 1400 });
  await container(host, 'b', '10.0.0.2/24', { bridge: 'br0' });
  await set(host, 'plp-b', { mac: '00:00:00:00:00:07' });
  expect(await br0()).toMatchObject({ carrier: true, mtu: 1400, mac: '00:00:00:00:00:07' });
  await set(host, 'eth0', { up: false }, 'a');
  await set(host, 'eth0', { up: false }, 'b');
  expect(await br0()).toMatchObject({ carrier: false });
  for (const port of ['plp-a', 'plp-b']) await set(host, port, { master: null });
  expect(await br0()).toMatchObject({ carrier: false, mac: '00:00:00:00:00:00', mtu: 1500 });
  await set(host, 'br0', { mac: '02:00:00:00:00:99', mtu: 1300 });
  await set(host, 'plp-a', { master: 'br0' });
  expect(await br0()).toMatchObject({ mac: '02:00:00:00:00:99', mtu: 1300 });
});

test('what cannot be a link, or a port, is refused as the kernel does', async () => {
  const host = hostsOnFabric(1).host('h1');
  await bridge(host, 'br0');
  await bridge(host, 'br1');
  await container(host, 'a', '10.0.0.1/24', { bridge: 'br0' });
  const vxlan = (name: string) =>
    ({
      namespace: '',
      name,
      alias: '',
      kind: { type: 'vxlan', vni: 7, local: '192.168.77.11', udpPort: 4789 },
    }) as const;
  const macvlan = (name: string, parent: string) =>
    ({ namespace: '', name, alias: '', kind: { type: 'macvlan', parent } }) as const;
  await make(host, vxlan('vx0'), macvlan('m0', 'eth0'), macvlan('m1', 'eth0'));
  expect(codeOf(await host.links.create([vxlan('vx1')]))).toBe('EEXIST');
  expect(codeOf(await host.links.create([macvlan('m2', 'plp-a')]))).toBe('EBUSY');
  const setting = async (name: string, change: object) =>
    codeOf(await host.links.set([{ namespace: '', name, set: change }]));
  expect(await setting('eth0', { master: 'br0' })).toBe('EBUSY');
  expect(await setting('vx0', { master: 'plp-a' })).toBe('EOPNOTSUPP');
  expect(await setting('br1', { master: 'br0' })).toBe('EINVAL');
  expect(await setting('br0', { mtu: 60 })).toBe('EINVAL');
  expect(await setting('br0', { mac: '01:00:00:00:00:01' })).toBe('EADDRNOTAVAIL');
  done(await host.links.set(['m0', 'm1'].map((name) => ({ namespace: '', name, set: { mac: '02:00:00:00:00:01' } }))));
  expect(await setting('m0', { up: true })).toBeUndefined();
  expect(await setting('m1', { up: true })).toBe('EBUSY');
  const fdb = { kind: 'fdb', namespace: '', mac: '02:00:00:00:00:05' } as const;
  expect(codeOf(await host.routing.add([{ ...fdb, link: 'vx0' }]))).toBe('EOPNOTSUPP');
  expect(codeOf(await host.routing.add([{ ...fdb, link: 'plp-a', destination: '10.0.0.1' }]))).toBe('EOPNOTSUPP');
});

test('a crash of the engine closes its sockets, and its watches are silent; a late watch tells late', async () => {
  const machines = hostsOnFabric(1);
  const engine = machines.connect('h1');
  const answering = await engine.probes.answer([{ namespace: '', port: 9 }]);
  const raw = machines.host('h1');
  expect((await sent(raw, udp('', '192.168.77.11', 9))).answeredBy).toBe('h1/');
  machines.crash('h1');
  await expect(answering.arrivals()).rejects.toThrow(EngineCrash);
  expect(await whyNot(raw, udp('', '192.168.77.11', 9))).toMatch(/nobody answers at UDP port 9/);

  const simulation = simulate({ faults: [{ on: 'store.watch', do: { delayMs: 500 } }] });
  const told: number[] = [];
  await simulation.run(async () => {
    const watching = simulation.connect('a');
    await watching.store.watch('x/', () => told.push(simulation.nowMs()), new AbortController().signal);
    await watching.store.commit({ put: [{ key: 'x/1', value: '1' }] });
    await simulation.host('a').clock.sleep(1000);
    simulation.crash('a');
    await simulation.host('a').store.commit({ put: [{ key: 'x/2', value: '1' }] });
    await simulation.host('a').clock.sleep(1000);
  });
  expect(told).toEqual([500]);
});

test('verbs of networks fail and crash with any number of their targets made', async () => {
  const simulation = simulate({
    faults: [
      { on: 'links.create', do: { fail: 'ENOMEM' }, after: 1 },
      { on: 'routing.list', do: { fail: 'EIO' } },
      { on: 'namespaces.create', do: { crash: 'before' }, after: 2 },
    ],
  });
  const engine = simulation.connect('a');
  const spec = (name: string) => ({ namespace: '', name, alias: '', kind: { type: 'bridge' } }) as const;
  await simulation.run(async () => {
    const { applied, error } = await engine.links.create([spec('br0'), spec('br1')]);
    expect([applied, error?.code, error?.target]).toEqual([1, 'ENOMEM', 'br1']);
    await expect(engine.routing.list([''])).rejects.toThrow(/EIO/);
    await expect(engine.namespaces.create(['a', 'b', 'c'])).rejects.toThrow(EngineCrash);
    await expect(engine.links.list([''])).rejects.toThrow(EngineCrash);
  });
  expect(await simulation.host('a').namespaces.list()).toEqual(['a', 'b']);
  expect((await simulation.host('a').links.list([''])).map(({ name }) => name)).toEqual(['br0', 'eth0', 'lo']);
});
