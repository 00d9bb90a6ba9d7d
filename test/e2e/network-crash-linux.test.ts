import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sweepDeadRuns } from '../../backends/linux/runs.ts';
import { readAsked } from '../../src/engine/asked.ts';
import { brokenAtRest } from '../../src/engine/invariants.ts';
import { observe } from '../../src/engine/planning.ts';
import { readShared } from '../../src/engine/sharing.ts';
import type { Host } from '../../src/host/host.ts';
import { shaperKey } from '../../src/host/shaper.ts';
import { observeNetwork } from '../../src/network/observe.ts';
import { kill, tracesOf } from '../contract/linux-run.ts';
import { whyNotHere } from '../contract/linux.ts';
import { type NetworkCase, networkCase } from '../property/network-cases.ts';
import { desiredOn, differences, questionsOf, worldOf } from '../property/network-matrix.ts';
import { askReal, type MarkOf, newFolder, noPolicy, RealFleet } from './network-linux.ts';
import { classesOn, shaped, shapingOn } from './shaped.ts';

const reason = whyNotHere();
const isLong = process.env['PLIMSOLL_LONG'] === '1';
const SEED = 1895;
const rounds = fc.sample(fc.record({ given: networkCase, afterMs: fc.integer({ min: 0, max: 600 }) }), {
  numRuns: isLong ? 40 : 5,
  seed: SEED,
});

/** Over all rounds, those with a class of the uplink: without any nothing of egress was shown. */
let shapedContainers = 0;

/** Lets a process attach and detach, and kills it after so long. */
async function killed(given: NetworkCase, afterMs: number, folder: string): Promise<Record<string, string>> {
  const program = fileURLToPath(new URL(`network-owner${extname(import.meta.url)}`, import.meta.url));
  const owner = spawn(process.execPath, [program, JSON.stringify(given), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const marks = await marksOf(owner);
  await sleep(afterMs);
  await kill(owner);
  return marks;
}

async function marksOf(owner: ChildProcess): Promise<Record<string, string>> {
  for await (const line of createInterface({ input: owner.stdout! })) return JSON.parse(line) as Record<string, string>;
  throw new Error('the process ended before it was up');
}

/** What is left of networks on the hosts besides their uplinks. */
async function leftOn(fleet: RealFleet, { hosts }: NetworkCase): Promise<string[]> {
  const left: string[] = [];
  for (const { name } of hosts) {
    const { namespaces, links, entries, firewall } = await observeNetwork(fleet.hostOf(name));
    left.push(
      ...namespaces,
      ...links.filter((link) => link.type !== 'loopback' && link.name !== 'eth0').map((link) => link.name),
      ...entries
        .filter((entry) => entry.kind === 'rule' || entry.link !== 'eth0' || entry.kind === 'proxy')
        .map((entry) => JSON.stringify(entry)),
      ...(firewall.frame ?? []),
      ...(await shapingOn(fleet.hostOf(name))).map(shaperKey),
      ...links.filter(({ qdisc }) => qdisc === 'htb').map((link) => `htb of ${link.name}`),
      ...(await fleet.hostOf(name).store.read('')).map(({ key }) => key),
    );
  }
  return left;
}

/** What is not as it was asked, when nothing is under way; and marks without classes. */
async function undoneOn(host: Host): Promise<string[]> {
  const asked = await readAsked(host.store, host.name);
  const broken = brokenAtRest(asked, await readShared(host.store), await observe(host, asked), noPolicy);
  const { count, broken: apart } = await classesOn(host);
  shapedContainers += count;
  return [...broken.map(({ about, message }) => `${about}: ${message}`), ...apart];
}

describe.skipIf(reason !== null)('an engine killed with SIGKILL while containers come and go', () => {
  test.for(rounds.map((round) => [round.afterMs, round] as const))(
    'after %i ms: another takes over, everybody reaches whom he may, and nothing is left',
    { timeout: 120_000 },
    async ([, { given, afterMs }]) => {
      const how = `killed after ${afterMs} ms: ${JSON.stringify(given)}`;
      const folder = newFolder();
      const marks = await killed(given, afterMs, folder);
      const markOf: MarkOf = (name) => marks[name]!;
      const fleet = await RealFleet.takeOver(given, markOf, folder);
      try {
        const engines = given.hosts.map(({ name }) => [name, fleet.engineOn(name)] as const);
        for (const [name, engine] of engines) {
          await engine.recover();
          expect((await classesOn(fleet.hostOf(name))).broken, `of ${name}, in ${how}`).toEqual([]);
        }
        // Limits that go are found by the second: other containers have them.
        for (const round of [1, 0])
          for (const [name, engine] of engines) await engine.ask(shaped(desiredOn(given, name), round));
        for (const [, engine] of engines) await engine.recover();
        for (const [name] of engines) expect(await undoneOn(fleet.hostOf(name)), `of ${name}, in ${how}`).toEqual([]);
        const world = await worldOf(given, fleet.hostOf);
        const questions = questionsOf(world).filter(({ protocol }) => protocol === 'udp');
        const asked = await askReal(world, fleet.hostOf, questions, given.payloadBytes);
        expect(differences(asked).slice(0, 8), `in ${how}`).toEqual([]);
        for (const [, engine] of engines) await engine.ask(null);
        expect(await leftOn(fleet, given), `in ${how}`).toEqual([]);
      } finally {
        await fleet.close();
      }
      for (const mark of Object.values(marks)) expect(tracesOf(mark), `in ${how}`).toEqual([]);
    },
  );

  test('containers had classes of the uplink meanwhile', () => {
    expect(shapedContainers).toBeGreaterThanOrEqual(rounds.length);
  });

  test('a sweep leaves nothing of it', { timeout: 120_000 }, async () => {
    const { given, afterMs } = rounds[0]!;
    const folder = newFolder();
    try {
      const marks = Object.values(await killed(given, afterMs, folder));
      const swept = await sweepDeadRuns();
      for (const mark of marks) {
        expect(swept).toContain(mark);
        expect(tracesOf(mark)).toEqual([]);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
