import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Fault } from '../../backends/sim/faults.ts';
import { type NetworkCase, networkCase } from './network-cases.ts';
import { leftovers, type LifeCase, type LifeEvent, type LifeRun, live } from './network-life.ts';
import { askAll, differences, questionsOf, worldOf } from './network-matrix.ts';
import { Reach, runs } from './reach.ts';

/** A case that was printed, to be run again: PLIMSOLL_LIFE_CASE='{…}' vitest run THIS -t 'whatever'. */
const printed = process.env['PLIMSOLL_LIFE_CASE'];

const number = fc.nat({ max: 8 });
const event: fc.Arbitrary<LifeEvent> = fc.record({
  afterMs: fc.constantFrom(0, 1, 20, 300, 1500, 6000),
  what: fc.oneof(
    fc.record({ kind: fc.constantFrom('detach' as const, 'attach' as const, 'reorder' as const), container: number }),
    fc.record({
      kind: fc.constant('crash' as const),
      host: fc.nat({ max: 3 }),
      backAfterMs: fc.constantFrom(100, 2000, 14_000, 17_000, 40_000),
    }),
  ),
});

const fault: fc.Arbitrary<Fault> = fc.record({
  on: fc.constantFrom(
    ...'namespaces.create namespaces.remove namespaces.list links.create links.set links.remove links.list'.split(' '),
    ...'routing.add routing.remove routing.list firewall.apply firewall.read'.split(' '),
    ...'store.read store.commit store.openSession store.renewSession store.endSession'.split(' '),
  ),
  do: fc.oneof(
    fc.constantFrom('EBUSY' as const, 'EIO' as const, 'EAGAIN' as const, 'ENOSPC' as const).map((fail) => ({ fail })),
    fc.constantFrom(5, 300, 3000).map((delayMs) => ({ delayMs })),
    fc.constantFrom({ crash: 'before' as const }, { crash: 'after' as const }),
  ),
  after: fc.nat({ max: 3 }),
  nth: fc.integer({ min: 1, max: 6 }),
  times: fc.integer({ min: 1, max: 5 }),
});

const lifeCase: fc.Arbitrary<LifeCase> = fc.record({
  given: networkCase,
  events: fc.array(event, { minLength: 1, maxLength: 8 }),
  faults: fc.oneof(fc.constant([]), fc.array(fault, { maxLength: 6 })),
});

/** Nothing was ever broken, in the end everybody reaches whom he may, and nothing is left when nothing is asked. */
async function judge(one: LifeCase, crashPoint?: number): Promise<LifeRun> {
  const how = `crash point ${crashPoint ?? '-'} PLIMSOLL_LIFE_CASE='${JSON.stringify(one)}'`;
  const run = await live(one, crashPoint);
  expect(run.broken.slice(0, 6), `in ${how}`).toEqual([]);
  // Where no call fails, nothing that is asked is refused.
  expect(one.faults.length === 0 ? run.refusals : 0, `in ${how}`).toBe(0);
  const { simulation } = run;
  const asked = await simulation.run(async () => {
    const hostOf = (name: string) => simulation.host(name);
    const world = await worldOf(one.given, hostOf);
    const questions = questionsOf(world).filter(({ protocol }) => protocol === 'udp');
    return await askAll(world, hostOf, questions, one.given.payloadBytes, []);
  });
  expect(differences(asked).slice(0, 6), `in ${how}`).toEqual([]);
  expect(await leftovers(run, one.given), `in ${how}`).toEqual([]);
  return run;
}

test('whatever is asked, fails or crashes: nothing in two hands, and in the end all is well', async () => {
  if (printed !== undefined) {
    await judge(JSON.parse(printed) as LifeCase);
    return;
  }
  const cases = ['a crash', 'a host taken for dead', 'a refusal', 'a detach', 'another order of interfaces', 'faults'];
  const reach = new Reach(cases);
  await fc.assert(
    fc.asyncProperty(lifeCase, async (one) => {
      const run = await judge(one);
      const kinds = new Set(one.events.map(({ what }) => what.kind));
      const met = [
        run.crashes > 0,
        run.lost > 0,
        run.refusals > 0,
        kinds.has('detach'),
        kinds.has('reorder'),
        one.faults.length > 0,
      ];
      reach.add(cases.filter((_, index) => met[index]));
    }),
    runs(2000),
  );
  reach.demand();
});

/** Two hosts, an overlay with a way out over both, a closed one with the same addresses, an intranet address, a port. */
const SMALL: NetworkCase = {
  seed: 1,
  routed: true,
  payloadBytes: 64,
  hosts: ['h0', 'h1'].map((name) => ({ name, foreignForward: 'accept', bridgeNfCallIptables: false })),
  networks: [
    { name: 'shop', kind: 'overlay', pool: '10.0.0.0/24', internal: false, nat: true },
    { name: 'vault', kind: 'overlay', pool: '10.0.0.0/24', internal: true, nat: false },
    { name: 'office', kind: 'intranet', pool: '192.168.77.128/28', internal: false, nat: false, by: 'routed' },
  ],
  containers: [
    {
      name: 'c0',
      host: 'h0',
      attachments: [
        { network: 'vault', publish: [] },
        { network: 'office', publish: [] },
      ],
    },
    {
      name: 'c1',
      host: 'h0',
      attachments: [{ network: 'shop', publish: [{ protocol: 'udp', hostPort: 8000, containerPort: 7007 }] }],
    },
    { name: 'c2', host: 'h1', attachments: [{ network: 'shop', publish: [] }] },
    { name: 'c3', host: 'h1', attachments: [{ network: 'vault', publish: [] }] },
  ],
};

describe('a crash of an engine', () => {
  test('at every point there is: nothing in two hands, nothing leaked', async () => {
    const one: LifeCase = {
      given: SMALL,
      faults: [],
      events: [
        { afterMs: 1500, what: { kind: 'detach', container: 1 } },
        { afterMs: 500, what: { kind: 'reorder', container: 0 } },
      ],
    };
    const points = (await judge(one)).simulation.crashPoints();
    let crashes = 0;
    const every = process.env['PLIMSOLL_LONG'] === '1' ? 1 : 5;
    for (let crashPoint = 0; crashPoint < points; crashPoint += every)
      crashes += (await judge(one, crashPoint)).crashes;
    process.stdout.write(
      `${crashes} crashes at ${Math.ceil(points / every)} of ${points} points; those without came when all was taken away\n`,
    );
    expect(crashes).toBeGreaterThan(points / every / 2);
  });
});
