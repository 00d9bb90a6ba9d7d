// A process to be killed: hosts of a case whose containers come and go until it dies. node network-owner.ts CASE FOLDER
import { runMark } from '../../backends/linux/owner.ts';
import type { NetworkCase } from '../property/network-cases.ts';
import { desiredOn } from '../property/network-matrix.ts';
import { RealFleet } from './network-linux.ts';
import { shaped } from './shaped.ts';

const given = JSON.parse(process.argv[2]!) as NetworkCase;
const marks = Object.fromEntries(
  [...given.hosts.map(({ name }) => name), 'outside', 'fabric'].map((name) => [name, runMark(`killed.${name}`)]),
);
const fleet = await RealFleet.make(given, (name) => marks[name]!, process.argv[3]);
process.stdout.write(`${JSON.stringify(marks)}\n`);
const engines = given.hosts.map(({ name }) => [name, fleet.engineOn(name)] as const);
for (let round = 0; ; round++) {
  // Each time another one is away.
  const containers = given.containers.filter(
    (_, index) => round % 3 !== 0 || index !== round % given.containers.length,
  );
  for (const [name, engine] of engines) await engine.ask(shaped(desiredOn({ ...given, containers }, name), round));
  if (round % 4 === 3) for (const [, engine] of engines) await engine.ask(null);
}
