import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type NetworkCase, networkCase } from './network-cases.ts';
import { type Asked, differences } from './network-matrix.ts';
import type { World } from './network-oracle.ts';
import { runReach } from './network-run.ts';
import { Reach, runs } from './reach.ts';

/** A case that was printed, to be run again: PLIMSOLL_NETWORK_CASE='{…}' vitest run THIS. */
const printed = process.env['PLIMSOLL_NETWORK_CASE'];

const CASES = [
  'the same address in two tenants on one host',
  'an internal network with a serving member',
  'a hairpin',
  'a published port asked from a closed network',
  'a forged source',
  'an overlay over two hosts',
  'a container in two networks with a way out',
  'an address of a host in a closed network',
];

async function judge(given: NetworkCase): Promise<{ readonly world: World; readonly asked: Asked[] }> {
  const run = await runReach(given);
  expect(differences(run.asked).slice(0, 8), `PLIMSOLL_NETWORK_CASE='${JSON.stringify(given)}'`).toEqual([]);
  return run;
}

test('whoever may reach somebody does, and nobody else', async () => {
  if (printed !== undefined) {
    await judge(JSON.parse(printed) as NetworkCase);
    return;
  }
  const reach = new Reach(CASES);
  let questions = 0;
  await fc.assert(
    fc.asyncProperty(networkCase, async (given) => {
      const { world, asked } = await judge(given);
      questions += asked.length;
      reach.add(metIn(world, asked));
    }),
    runs(4000),
  );
  process.stdout.write(`${questions} questions asked\n`);
  reach.demand();
});

function metIn({ hosts, members }: World, asked: readonly Asked[]): string[] {
  const met: string[] = [];
  const pairs = members.flatMap((one, index) => members.slice(index + 1).map((other) => [one, other] as const));
  const placesOf = (host: string, container: string) =>
    members.filter((each) => each.host === host && each.container === container);
  if (pairs.some(([a, b]) => a.host === b.host && a.address === b.address && a.network !== b.network))
    met.push(CASES[0]!);
  if (
    members.some(
      ({ host, container, network }) =>
        network.internal && placesOf(host, container).some((place) => place.network.kind === 'intranet'),
    )
  )
    met.push(CASES[1]!);
  const publishers = asked.flatMap(({ question }) => {
    if (question.container === '' || question.port < 8000) return [];
    return members
      .filter(({ publish }) => publish.some(({ hostPort }) => hostPort === question.port))
      .map((publisher) => ({ question, publisher, places: placesOf(question.host, question.container) }));
  });
  if (
    publishers.some(
      ({ question, publisher, places }) =>
        question.host === publisher.host &&
        question.container !== publisher.container &&
        places.some(({ network }) => network === publisher.network),
    )
  )
    met.push(CASES[2]!);
  if (publishers.some(({ places }) => places.every(({ network }) => !network.nat && network.kind !== 'intranet')))
    met.push(CASES[3]!);
  if (asked.some(({ question, said }) => question.forgedSource !== undefined && said !== undefined))
    met.push(CASES[4]!);
  if (pairs.some(([a, b]) => a.network === b.network && a.host !== b.host && a.network.kind === 'overlay'))
    met.push(CASES[5]!);
  if (members.some(({ host, container }) => placesOf(host, container).filter(({ network }) => network.nat).length > 1))
    met.push(CASES[6]!);
  if (
    members.some(
      ({ network, address }) => network.kind !== 'intranet' && hosts.some((host) => host.address === address),
    )
  )
    met.push(CASES[7]!);
  return met;
}
