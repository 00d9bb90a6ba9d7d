import type { Announcement } from '../../src/host/routing.ts';
import { assertApplied, assertRefused, type ContractCase, type ContractFixture } from './contract.ts';
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
  probe,
  setLinks,
  veth,
} from './network.ts';

const announce = ({ host, settle }: ContractFixture, announcements: readonly Announcement[]) =>
  settle(() => host.routing.announce(announcements));

/** What `routing.announce` promises. */
export const announcementsContract: readonly ContractCase[] = [
  {
    name: 'whoever knows the address by another MAC reaches who has it now, at once; without it the old one is asked',
    async run(fixture) {
      const { host, settle } = fixture;
      await makeLinks(fixture, [bridge('br0')]);
      await setLinks(fixture, [change('', 'br0', { up: true })]);
      await attach(fixture, 'client', 'v0', '10.1.0.1/24', 'br0');
      await attach(fixture, 'old', 'v1', '10.1.0.5/24', 'br0');
      await attach(fixture, 'new', 'v2', '10.1.0.6/24', 'br0');
      const ask = () => probe(fixture, [], [icmp('client', '10.1.0.5'), icmp('client', '10.1.0.6')]);
      assertAnswered(await ask(), ['kernel', 'kernel']);
      assertApplied(await settle(() => host.routing.remove([address('old', 'eth0', '10.1.0.5/24')])), 1);
      await addEntries(fixture, [address('new', 'eth0', '10.1.0.5/24')]);
      assertAnswered(await ask(), [null, 'kernel']);
      assertApplied(
        await announce(fixture, [
          { namespace: 'new', link: 'eth0', address: '10.1.0.6' },
          { namespace: 'new', link: 'eth0', address: '10.1.0.5' },
        ]),
        2,
      );
      assertAnswered(await ask(), ['kernel', 'kernel']);
    },
  },
  {
    name: 'no such link or namespace: ENODEV; a link that is down: ENETDOWN; no address: EINVAL; those before are sent',
    async run(fixture) {
      await makeNamespaces(fixture, ['web']);
      await makeLinks(fixture, [veth('v0', 'web')]);
      await setLinks(fixture, [change('', 'v0', { up: true })]);
      const good = { namespace: '', link: 'v0', address: '10.1.0.5' };
      for (const [bad, code, target] of [
        [{ ...good, link: 'never' }, 'ENODEV', '10.1.0.5 dev never'],
        [{ ...good, namespace: 'nowhere' }, 'ENODEV', '10.1.0.5 dev nowhere: v0'],
        [{ ...good, namespace: 'web', link: 'eth0' }, 'ENETDOWN', '10.1.0.5 dev web: eth0'],
        [{ ...good, address: '10.1.0' }, 'EINVAL', '10.1.0 dev v0'],
      ] as const)
        assertRefused(await announce(fixture, [good, bad, good]), {
          applied: 1,
          code,
          operation: 'routing.announce',
          target,
        });
    },
  },
];
