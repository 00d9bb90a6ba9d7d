import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type NetworkCase, networkCase } from '../property/network-cases.ts';
import { type Asked, desiredOn, differences, questionsOf, worldOf } from '../property/network-matrix.ts';
import { TUNNEL } from '../property/network-oracle.ts';
import { runReach } from '../property/network-run.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { whyNotHere } from '../contract/linux.ts';
import { askReal, RealFleet } from './network-linux.ts';

const reason = whyNotHere();
const isLong = process.env['PLIMSOLL_LONG'] === '1';
const cases = fc.sample(networkCase, { numRuns: isLong ? 60 : 8, seed: 1894 });
const printed = process.env['PLIMSOLL_NETWORK_CASE'];

/** Two of a closed network, one with the address that is the gateway's of another network of the host. */
const GATEWAY: NetworkCase = {
  seed: 1,
  routed: false,
  payloadBytes: 64,
  hosts: [{ name: 'h0', foreignForward: 'accept', bridgeNfCallIptables: false }],
  networks: [
    { name: 'vault', kind: 'bridge', pool: '10.0.0.0/24', internal: true, nat: false },
    { name: 'shop', kind: 'bridge', pool: '10.0.0.0/24', internal: false, nat: true },
  ],
  // The one asks first: who was asked before knows the asker's MAC.
  containers: ['vault', 'vault', 'shop'].map((network, index) => ({
    name: `c${index}`,
    host: 'h0',
    attachments: [{ network, publish: [], ...(index === 0 && { address: '10.0.0.2' }) }],
  })),
};
const given = printed === undefined ? [GATEWAY, ...cases] : [JSON.parse(printed) as NetworkCase];

/** Everything asked for and settled, by real packets. */
async function reachOf(one: NetworkCase): Promise<Asked[]> {
  const fleet = await RealFleet.make(one, (name) => runMark(`reach.${name}`));
  try {
    const engines = one.hosts.map(({ name }) => [name, fleet.engineOn(name)] as const);
    for (const [name, engine] of engines) await engine.ask(desiredOn(one, name));
    for (const [, engine] of engines) await engine.recover();
    const world = await worldOf(one, fleet.hostOf);
    return await askReal(world, fleet.hostOf, questionsOf(world), one.payloadBytes);
  } finally {
    await fleet.close();
  }
}

const outcome = ({ got: { answeredBy, arrivedAt }, question }: Asked): string =>
  question.forgedSource === undefined ? `${answeredBy}` : `${arrivedAt}`;

test.skipIf(reason !== null)(
  'real packets reach whom they may, and nobody else, as the simulation says',
  { timeout: 600_000 },
  async () => {
    let questions = 0;
    let disagreements = 0;
    for (const one of given) {
      const how = `PLIMSOLL_NETWORK_CASE='${JSON.stringify(one)}'`;
      const real = await reachOf(one);
      const simulated = (await runReach(one)).asked;
      const ofSimulation = new Map(simulated.map((each) => [JSON.stringify(each.question), outcome(each)]));
      for (const each of real) {
        questions++;
        const said = ofSimulation.get(JSON.stringify(each.question));
        if (said === outcome(each) || each.question.port === TUNNEL) continue;
        // Of a macvlan's forged packets nothing is said, and flows that one of them began let the next one through.
        if (each.question.forgedSource !== undefined && each.said === undefined) continue;
        disagreements++;
        process.stdout.write(`simulated ${said}, real ${outcome(each)}: ${JSON.stringify(each.question)}\n`);
      }
      expect(differences(real).slice(0, 8), `in ${how}`).toEqual([]);
    }
    process.stdout.write(
      `real and simulated disagree on ${disagreements} of ${questions} packets, in ${given.length} cases\n`,
    );
    expect(disagreements).toBe(0);
  },
);
