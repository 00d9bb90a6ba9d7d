import assert from 'node:assert/strict';
import type { HostError } from '../../src/host/errors.ts';
import type { Host } from '../../src/host/host.ts';
import { assertApplied, type ContractCase, type ContractFixture } from './contract.ts';
import {
  addEntries,
  address,
  assertAnswered,
  attach,
  bridge,
  change,
  icmp,
  makeLinks,
  makeNamespaces,
  PORT,
  probe,
  setLinks,
  udp,
  vxlan,
} from './network.ts';

const HERE = '192.168.77.11';
const THERE = '192.168.77.12';

const refusedWith = (code: string, operation: string) => (error: HostError) => {
  assert.deepEqual({ code: error.code, operation: error.operation }, { code, operation });
  return true;
};

/** A tenant's bridge with a VXLAN and one container, told where the other host's container is: nobody has to ask. */
async function joinOverlay(
  fixture: Pick<ContractFixture, 'host' | 'settle'>,
  local: { readonly host: string; readonly container: string; readonly mac: string },
  remote: { readonly host: string; readonly container: string; readonly mac: string },
): Promise<void> {
  await makeLinks(fixture, [bridge('br0'), vxlan('vx0', 42, local.host)]);
  await makeNamespaces(fixture, ['web']);
  const alias = 'contract';
  await makeLinks(fixture, [
    {
      namespace: '',
      name: 'v0',
      alias,
      kind: { type: 'veth', peer: { namespace: 'web', name: 'eth0', alias, mac: local.mac } },
    },
  ]);
  await setLinks(fixture, [
    change('', 'br0', { up: true }),
    change('', 'vx0', { up: true, master: 'br0', learning: false }),
    change('', 'v0', { up: true, master: 'br0' }),
    change('web', 'eth0', { up: true }),
  ]);
  await addEntries(fixture, [
    address('web', 'eth0', `${local.container}/24`),
    { kind: 'fdb', namespace: '', link: 'vx0', mac: remote.mac, destination: remote.host },
    { kind: 'fdb', namespace: '', link: 'vx0', mac: remote.mac },
    { kind: 'neighbour', namespace: '', link: 'vx0', address: remote.container, mac: remote.mac },
  ]);
}

const A = { host: HERE, container: '10.1.0.5', mac: '02:70:6c:00:00:05' };
const B = { host: THERE, container: '10.1.0.6', mac: '02:70:6c:00:00:06' };

async function overlay(fixture: ContractFixture): Promise<Host> {
  const other = await fixture.another('other');
  await joinOverlay(fixture, A, B);
  await joinOverlay({ host: other, settle: fixture.settle }, B, A);
  return other;
}

/** What `Probes` promises, and that links and tables carry what they say. */
export const probesContract: readonly ContractCase[] = [
  {
    name: 'a veth carries a probe, and the answer tells who got it and from where; ICMP is answered by the kernel',
    async run(fixture) {
      const { host } = fixture;
      await attach(fixture, 'web', 'v0', '10.1.0.5/24');
      await addEntries(fixture, [address('', 'v0', '10.1.0.1/24')]);
      const results = await probe(
        fixture,
        [{ host, namespace: 'web' }],
        [
          udp('', '10.1.0.5'),
          icmp('', '10.1.0.5'),
          udp('', '10.1.0.5', { payloadBytes: 1400 }),
          icmp('web', '10.1.0.1'),
        ],
      );
      assertAnswered(results, [`${host.name}/web`, 'kernel', `${host.name}/web`, 'kernel']);
      const { arrivedAt, seenFrom } = results[0]!;
      assert.deepEqual({ arrivedAt, seenFrom }, { arrivedAt: `${host.name}/web`, seenFrom: '10.1.0.1' });
      assert.equal(results[1]!.arrivedAt, null);
    },
  },
  {
    name: 'what gets no answer says why: no listener, no route, a link that is down, a packet too large',
    async run(fixture) {
      await attach(fixture, 'web', 'v0', '10.1.0.5/24');
      await addEntries(fixture, [address('', 'v0', '10.1.0.1/24')]);
      const results = await probe(
        fixture,
        [],
        [udp('', '10.1.0.5'), udp('', '10.9.0.5'), icmp('', '10.1.0.66'), udp('', '10.1.0.5', { payloadBytes: 1473 })],
      );
      assertAnswered(results, [null, null, null, null]);
      for (const { why } of results) assert.notEqual(why, '');
      assert.match(results[1]!.why, /ENETUNREACH/);
      assert.match(results[3]!.why, /EMSGSIZE/);
      await setLinks(fixture, [change('web', 'eth0', { up: false })]);
      assertAnswered(await probe(fixture, [], [icmp('', '10.1.0.5')]), [null]);
    },
  },
  {
    name: 'answer: EADDRINUSE where somebody answers already, ENODEV where no namespace is; close lets go',
    async run({ host, settle }) {
      const place = { namespace: '', port: PORT };
      await settle(async () => {
        const answering = await host.probes.answer([place]);
        await assert.rejects(
          host.probes.answer([{ namespace: '', port: PORT + 1 }, place]),
          refusedWith('EADDRINUSE', 'probes.answer'),
        );
        await assert.rejects(
          host.probes.answer([{ namespace: 'nowhere', port: PORT }]),
          refusedWith('ENODEV', 'probes.answer'),
        );
        await answering.close();
        await answering.close();
        // Nothing is left of the one that was refused either.
        await (await host.probes.answer([place, { namespace: '', port: PORT + 1 }])).close();
        await assert.rejects(host.probes.send([udp('nowhere', '127.0.0.1')]), refusedWith('ENODEV', 'probes.send'));
      });
    },
  },
  {
    name: 'arrivals tells what came, forged sources too, to which no answer is waited for',
    async run(fixture) {
      const { host, settle } = fixture;
      await attach(fixture, 'web', 'v0', '10.1.0.5/24');
      await addEntries(fixture, [address('', 'v0', '10.1.0.1/24')]);
      await settle(async () => {
        const answering = await host.probes.answer([{ namespace: '', port: PORT }]);
        const [plain, forged] = await host.probes.send([
          udp('web', '10.1.0.1'),
          udp('web', '10.1.0.1', { forgedSource: '10.1.0.99' }),
        ]);
        assert.equal(plain?.answeredBy, `${host.name}/`);
        assert.deepEqual(
          { by: forged?.answeredBy, at: forged?.arrivedAt, from: forged?.seenFrom },
          { by: null, at: `${host.name}/`, from: '10.1.0.99' },
        );
        const arrivals = await answering.arrivals();
        const common = { at: `${host.name}/`, sentTo: '10.1.0.1', sentBy: `${host.name}/web` };
        assert.deepEqual(
          arrivals.toSorted((a, b) => (a.seenFrom < b.seenFrom ? -1 : 1)),
          [
            { ...common, seenFrom: '10.1.0.5' },
            { ...common, seenFrom: '10.1.0.99' },
          ],
        );
        await answering.close();
      });
    },
  },
  {
    name: 'a bridge joins its ports, and nobody else',
    async run(fixture) {
      const { host } = fixture;
      await makeLinks(fixture, [bridge('br0')]);
      await setLinks(fixture, [change('', 'br0', { up: true })]);
      await attach(fixture, 'a', 'va', '10.1.0.5/24', 'br0');
      await attach(fixture, 'b', 'vb', '10.1.0.6/24', 'br0');
      await attach(fixture, 'c', 'vc', '10.1.0.7/24');
      const at = ['a', 'b', 'c'].map((namespace) => ({ host, namespace }));
      const probes = [udp('a', '10.1.0.6'), udp('b', '10.1.0.5'), udp('a', '10.1.0.7')];
      assertAnswered(await probe(fixture, at, probes), [`${host.name}/b`, `${host.name}/a`, null]);
      await setLinks(fixture, [change('', 'vc', { master: 'br0' })]);
      assertAnswered(await probe(fixture, at, [udp('b', '10.1.0.7')]), [`${host.name}/c`]);
    },
  },
  {
    name: 'the host routes between its links where it forwards, and only there',
    async run(fixture) {
      const { host } = fixture;
      await attach(fixture, 'a', 'va', '10.1.0.5/24');
      await attach(fixture, 'b', 'vb', '10.2.0.5/24');
      await addEntries(fixture, [
        address('', 'va', '10.1.0.1/24'),
        address('', 'vb', '10.2.0.1/24'),
        { kind: 'route', namespace: 'a', link: 'eth0', to: '0.0.0.0/0', via: '10.1.0.1' },
        { kind: 'route', namespace: 'b', link: 'eth0', to: '0.0.0.0/0', via: '10.2.0.1' },
      ]);
      const at = [{ host, namespace: 'b' }];
      assertAnswered(await probe(fixture, at, [udp('a', '10.2.0.5')]), [null]);
      await setLinks(fixture, [change('', 'va', { forwarding: true }), change('', 'vb', { forwarding: true })]);
      assertAnswered(await probe(fixture, at, [udp('a', '10.2.0.5'), icmp('a', '10.2.0.5')]), [
        `${host.name}/b`,
        'kernel',
      ]);
    },
  },
  {
    name: 'two hosts answer each other over their fabric',
    async run(fixture) {
      const other = await fixture.another('other');
      const results = await probe(fixture, [{ host: other, namespace: '' }], [udp('', THERE), icmp('', THERE)]);
      assertAnswered(results, ['other/', 'kernel']);
      assert.equal(results[0]!.seenFrom, HERE);
    },
  },
  {
    name: 'two VXLANs join the bridges of two hosts by their entries alone: nothing is learned, nothing flooded',
    async run(fixture) {
      const { host, settle } = fixture;
      const other = await overlay(fixture);
      const at = [{ host: other, namespace: 'web' }];
      assertAnswered(await probe(fixture, at, [udp('web', B.container), icmp('web', B.container)]), [
        'other/web',
        'kernel',
      ]);
      const entry = { kind: 'fdb', namespace: '', link: 'vx0', mac: B.mac, destination: THERE } as const;
      assertApplied(await settle(() => host.routing.remove([entry])), 1);
      assertAnswered(await probe(fixture, at, [udp('web', B.container)]), [null]);
      assertApplied(await settle(() => host.routing.add([entry])), 1);
      assertAnswered(await probe(fixture, at, [udp('web', B.container)]), ['other/web']);
    },
  },
  {
    name: 'through a VXLAN of MTU 1450 a packet of 1450 passes, and one of 1500 vanishes where the sender does not know',
    async run(fixture) {
      const other = await overlay(fixture);
      const at = [{ host: other, namespace: 'web' }];
      // Of IPv4 and UDP, 28 bytes.
      const results = await probe(fixture, at, [
        udp('web', B.container, { payloadBytes: 1450 - 28 }),
        udp('web', B.container, { payloadBytes: 1500 - 28 }),
      ]);
      assertAnswered(results, ['other/web', null]);
      assert.doesNotMatch(results[1]!.why, /EMSGSIZE/);
      await setLinks(fixture, [change('web', 'eth0', { mtu: 1450 })]);
      const [told] = await probe(fixture, at, [udp('web', B.container, { payloadBytes: 1500 - 28 })]);
      assert.match(told!.why, /EMSGSIZE/);
    },
  },
  {
    name: "a macvlan has an address of its own on the parent's network, and its own host cannot reach it",
    async run(fixture) {
      const { host } = fixture;
      const other = await fixture.another('other');
      await makeNamespaces(fixture, ['web']);
      await makeLinks(fixture, [
        { namespace: 'web', name: 'intra0', alias: 'contract', kind: { type: 'macvlan', parent: 'eth0' } },
      ]);
      await setLinks(fixture, [change('web', 'intra0', { up: true })]);
      await addEntries(fixture, [address('web', 'intra0', '192.168.77.50/24')]);
      const fromThere = { host: other, settle: fixture.settle };
      const at = [{ host, namespace: 'web' }];
      assertAnswered(await probe(fromThere, at, [udp('', '192.168.77.50')]), [`${host.name}/web`]);
      assertAnswered(await probe(fixture, at, [udp('', '192.168.77.50')]), [null]);
    },
  },
  {
    name: 'proxy ARP: the host answers for an address behind it, and forwards to it',
    async run(fixture) {
      const { host } = fixture;
      const other = await fixture.another('other');
      await attach(fixture, 'web', 'v0', '192.168.77.50/32');
      await setLinks(fixture, [change('', 'eth0', { forwarding: true }), change('', 'v0', { forwarding: true })]);
      await addEntries(fixture, [
        { kind: 'route', namespace: '', link: 'v0', to: '192.168.77.50/32' },
        address('', 'v0', '169.254.1.1/32'),
        { kind: 'route', namespace: 'web', link: 'eth0', to: '0.0.0.0/0', via: '169.254.1.1' },
      ]);
      const fromThere = { host: other, settle: fixture.settle };
      const at = [{ host, namespace: 'web' }];
      assertAnswered(await probe(fromThere, at, [udp('', '192.168.77.50')]), [null]);
      await addEntries(fixture, [{ kind: 'proxy', namespace: '', link: 'eth0', address: '192.168.77.50' }]);
      await fixture.waitUntil(
        async () => (await probe(fromThere, at, [udp('', '192.168.77.50')]))[0]?.answeredBy === `${host.name}/web`,
        'the other host to ask again',
      );
    },
  },
  {
    name: 'a rule sends what comes from an address by a table of its own; an answer goes out from where it was asked',
    async run(fixture) {
      const { host } = fixture;
      const other = await fixture.another('other');
      await attach(fixture, 'web', 'v0', '10.1.0.5/24');
      await setLinks(fixture, [change('', 'eth0', { forwarding: true }), change('', 'v0', { forwarding: true })]);
      const probes = [udp('', '10.1.0.99')];
      await addEntries(fixture, [
        address('', 'v0', '10.1.0.1/24'),
        address('web', 'eth0', '10.1.0.99/32'),
        { kind: 'route', namespace: '', link: 'v0', to: '10.1.0.99/32' },
      ]);
      await addEntries({ host: other, settle: fixture.settle }, [
        { kind: 'route', namespace: '', link: 'eth0', to: '10.1.0.99/32', via: HERE },
      ]);
      const fromThere = { host: other, settle: fixture.settle };
      const at = [{ host, namespace: 'web' }];
      // The container has no way back to the other host.
      assertAnswered(await probe(fromThere, at, probes), [null]);
      await addEntries(fixture, [
        { kind: 'rule', namespace: 'web', from: '10.1.0.99', table: 1005 },
        { kind: 'route', namespace: 'web', link: 'eth0', to: '0.0.0.0/0', via: '10.1.0.1', table: 1005 },
      ]);
      const results = await probe(fromThere, at, [...probes]);
      assertAnswered(results, [`${host.name}/web`]);
      assertAnswered(await probe(fixture, [{ host: other, namespace: '' }], [udp('web', THERE)]), [null]);
    },
  },
  {
    name: 'hundreds at once are answered at once',
    async run(fixture) {
      const { host } = fixture;
      await attach(fixture, 'web', 'v0', '10.1.0.5/24');
      await addEntries(fixture, [address('', 'v0', '10.1.0.1/24')]);
      const probes = Array.from({ length: 400 }, () => udp('', '10.1.0.5'));
      const results = await probe(fixture, [{ host, namespace: 'web' }], probes);
      assert.equal(results.filter(({ answeredBy }) => answeredBy === `${host.name}/web`).length, 400);
    },
  },
];
