import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Simulation } from '../../backends/sim/simulation.ts';
import type { Applied } from '../../src/host/batch.ts';
import type { Host } from '../../src/host/host.ts';
import { GIB, bytes } from '../../src/host/units.ts';
import { VF_DRIVERS } from '../../src/host/vf-drivers.ts';
import type { FoundFunctions, VfKnobs } from '../../src/host/virtual-functions.ts';
import { simulate } from '../unit/backends/sim/harness.ts';
import { Reach, runs } from './reach.ts';

const PFS = ['pf0', 'pf1'] as const;
const NAMESPACES = ['a', 'b'] as const;
const MBIT = 1_000_000;

const knobs: fc.Arbitrary<Partial<VfKnobs>> = fc.record(
  {
    mac: fc.constantFrom('00:00:00:00:00:00', '02:00:00:00:00:01', '02:00:00:00:00:02', '03:00:00:00:00:01'),
    vlan: fc.constantFrom(0, 7, 4095, 4096),
    qos: fc.constantFrom(0, 7, 8),
    proto: fc.constantFrom('802.1Q' as const, '802.1ad' as const),
    spoofCheck: fc.boolean(),
    trust: fc.boolean(),
    linkState: fc.constantFrom('auto' as const, 'enable' as const, 'disable' as const),
    minRateBitsPerSec: fc.constantFrom(0, 10 * MBIT, 600 * MBIT),
    maxRateBitsPerSec: fc.constantFrom(0, 100 * MBIT, 200 * MBIT, 5 * MBIT, 25_000 * MBIT, 1500),
  },
  { requiredKeys: [] },
);
const pf = fc.constantFrom(...PFS);
const vf = fc.record({ pf, index: fc.nat({ max: 2 }) });
const namespace = fc.constantFrom('', ...NAMESPACES);

const often = <T>(weight: number, arbitrary: fc.Arbitrary<T>) => ({ weight, arbitrary });

const act = fc.oneof(
  often(2, fc.record({ verb: fc.constant('enable' as const), pf, count: fc.constantFrom(0, 2, 2, 3, 500) })),
  often(3, fc.record({ verb: fc.constant('set' as const), vf, set: knobs })),
  often(5, fc.record({ verb: fc.constant('bind' as const), vf })),
  often(1, fc.record({ verb: fc.constant('unbind' as const), vf })),
  often(
    6,
    fc.record({ verb: fc.constant('move' as const), vf, namespace, name: fc.constantFrom('eth0', 'eth1', 'eth9') }),
  ),
  often(1, fc.record({ verb: fc.constant('up' as const), pf, up: fc.boolean() })),
  often(
    5,
    fc.record({ verb: fc.constant('namespace' as const), name: fc.constantFrom(...NAMESPACES), there: fc.boolean() }),
  ),
  often(1, fc.record({ verb: fc.constant('hold' as const), name: fc.constantFrom(...NAMESPACES) })),
  often(1, fc.record({ verb: fc.constant('hide' as const), vf })),
  often(1, fc.record({ verb: fc.constant('cut' as const), pf, forMs: fc.constantFrom(500, 20_000) })),
  often(2, fc.record({ verb: fc.constant('wait' as const), delayMs: fc.constantFrom(10, 100, 5000) })),
);
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

/** What a verb says of what it did; undefined: it is none of the port's, or had nothing to do it to. */
async function does(simulation: Simulation, host: Host, what: Act): Promise<Applied | undefined> {
  const { virtualFunctions, links, namespaces, clock } = host;
  const linkOf = async (name: { pf: string; index: number }) =>
    (await virtualFunctions.list(NAMESPACES)).virtual.find((each) => each.pf === name.pf && each.index === name.index)
      ?.link ?? undefined;
  switch (what.verb) {
    case 'enable':
      return virtualFunctions.enable([what]);
    case 'set':
      return virtualFunctions.set([{ ...what.vf, set: what.set }]);
    case 'bind':
      return virtualFunctions.bind([what.vf]);
    case 'unbind':
      return virtualFunctions.unbind([what.vf]);
    case 'move': {
      const link = await linkOf(what.vf);
      return link && links.move([{ ...link, to: what }]);
    }
    case 'up':
      return links.set([{ namespace: '', name: what.pf, set: { up: what.up } }]);
    case 'namespace':
      return what.there ? namespaces.create([what.name]) : namespaces.remove([what.name]);
    case 'hold':
      if ((await namespaces.list()).includes(what.name)) simulation.mishaps('h1').hold(what.name);
      return undefined;
    case 'hide':
      if ((await linkOf(what.vf)) !== undefined) simulation.mishaps('h1').hide(what.vf);
      return undefined;
    case 'cut':
      simulation.mishaps('h1').cut(what.pf, what.forMs);
      return undefined;
    case 'wait':
      await clock.sleep(what.delayMs);
      return undefined;
  }
}

/** Without what changes by itself with time. */
const lasting = ({ physical, virtual }: FoundFunctions): unknown => ({
  physical: physical.map(({ carrier: _carrier, speedBitsPerSec: _speed, ...rest }) => rest),
  virtual: virtual.map(({ link: _link, linkMac: _linkMac, ...rest }) => rest),
});

async function check(host: Host): Promise<void> {
  const { physical, virtual } = await host.virtualFunctions.list(NAMESPACES);
  const links = await host.links.list(['', ...NAMESPACES]);
  for (const { pf: name, vfCount, totalVfs } of physical) {
    expect(vfCount, `VFs of ${name}`).toBe(virtual.filter((each) => each.pf === name).length);
    expect(vfCount, `VFs of ${name}`).toBeLessThanOrEqual(totalVfs);
  }
  expect(new Set([...physical, ...virtual].map(({ pciAddress }) => pciAddress)).size).toBe(
    physical.length + virtual.length,
  );
  for (const { pciAddress, link, linkMac, driver } of virtual) {
    // In one place at most, and in the one that is told.
    const places = links.filter(({ device }) => device === pciAddress);
    expect(
      places.map(({ namespace: at, name }) => ({ namespace: at, name })),
      `places of ${pciAddress}`,
    ).toEqual(link === null ? [] : [link]);
    expect(places[0]?.mac ?? null, `MAC of ${pciAddress}`).toBe(linkMac);
    expect(driver !== null || link === null, `link of ${pciAddress} without a driver`).toBe(true);
  }
  // Nothing has a device that is not there.
  const devices = new Set([...physical, ...virtual].map(({ pciAddress }) => pciAddress));
  for (const { device } of links) expect(device === undefined || devices.has(device), `device ${device}`).toBe(true);
}

const PLACES = ['a VF nowhere to be seen', 'a VF in a namespace', 'a VF home by another name'] as const;
const CODES = ['ERANGE', 'EBUSY', 'EINVAL', 'EOPNOTSUPP', 'ENETDOWN', 'EEXIST', 'ETIMEDOUT'] as const;

test('whatever is done to cards and VFs, no VF is in two places, all counts are right, and what is refused changes nothing', async () => {
  const reach = new Reach(['refused', 'a link that is down', ...PLACES, ...CODES]);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...VF_DRIVERS.map(({ name }) => name)),
      fc.array(act, { minLength: 40, maxLength: 80 }),
      async (driver, acts) => {
        const nics = PFS.map((link) => ({ link, driver }));
        const machine = { name: 'h1', ramBytes: bytes(GIB), cpus: 2, cgroupVersion: 2 as const, nics };
        const simulation = simulate({ hosts: [machine] });
        const host = simulation.host('h1');
        const met = new Set<string>();
        await simulation.run(async () => {
          await host.namespaces.create([...NAMESPACES]);
          await host.virtualFunctions.enable(PFS.map((each) => ({ pf: each, count: 2 })));
          for (const each of acts) {
            const before = lasting(await host.virtualFunctions.list(NAMESPACES));
            const error = (await does(simulation, host, each))?.error;
            const found = await host.virtualFunctions.list(NAMESPACES);
            // Its VFs are there, or gone; only its link did not come back.
            const isDone = error === undefined || (each.verb === 'enable' && error.code === 'ETIMEDOUT');
            expect(isDone ? before : lasting(found), `after ${error?.message}`).toEqual(before);
            if (error !== undefined) met.add('refused').add(error.code);
            await check(host);
            for (const { driver: bound, link } of found.virtual) {
              if (bound !== null && link === null) met.add('a VF nowhere to be seen');
              if (link !== null && link.namespace !== '') met.add('a VF in a namespace');
              if (link?.name.startsWith('dev') === true) met.add('a VF home by another name');
            }
            if (found.physical.some(({ carrier }) => !carrier)) met.add('a link that is down');
          }
        });
        reach.add(met);
      },
    ),
    runs(2000),
  );
  reach.demand();
});
