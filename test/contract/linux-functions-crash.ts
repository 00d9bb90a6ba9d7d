// What only a whole engine on a real card can show: that it may die anywhere, and that the card's link is waited for once.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LinuxHost } from '../../backends/linux/host.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { openSqliteStore, type SqliteStore } from '../../backends/store/sqlite.ts';
import { readAsked } from '../../src/engine/asked.ts';
import { Engine } from '../../src/engine/engine.ts';
import { brokenAtRest } from '../../src/engine/invariants.ts';
import { observe } from '../../src/engine/planning.ts';
import { readShared } from '../../src/engine/sharing.ts';
import { createRandom } from '../../src/host/random.ts';
import { vfKey } from '../../src/host/virtual-functions.ts';
import { holderOf } from '../../src/network/functions.ts';
import { brokenNetworks } from '../../src/network/invariants.ts';
import { observeNetwork } from '../../src/network/observe.ts';
import { assertApplied, type ContractCase, type ContractFixture } from './contract.ts';
import {
  addressIn,
  askFor,
  engineOn,
  type FunctionsLife,
  HOST,
  isByVf,
  LAST_LIMITS,
  NETWORKS_OF,
  noPolicy,
  openLife,
  VFS,
} from './linux-functions-life.ts';
import { carrierChanges, differencesFrom, networkOfMachine } from './linux-functions-traces.ts';
import { kill } from './linux-run.ts';
import { waitUntil } from './linux.ts';
import { change, icmp, setLinks } from './network.ts';
import { bind, enable, linkOf, MBIT, pfsOf, set } from './vf.ts';

const isLong = process.env['PLIMSOLL_LONG'] === '1';
const STEPS = 40;
const SEED = Number(process.env['PLIMSOLL_SEED'] ?? 1895);
const UPLINK = '192.168.77.2';
/** A kill comes so long after a step: with it, in the calls that follow it, or while the card's link is away. */
const AFTER_MS = [0, 0, 50, 400, 1500];

/** Lets a process take over, kills it after so many steps and so long. Returns the last step that it told. */
async function killed(life: FunctionsLife, start: number, steps: number, afterMs: number): Promise<string> {
  const program = fileURLToPath(new URL(`linux-functions-owner${extname(import.meta.url)}`, import.meta.url));
  const owner = spawn(process.execPath, [program, JSON.stringify(life), String(start)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  owner.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  let seen = 0;
  for await (const line of createInterface({ input: owner.stdout })) {
    if (seen++ < steps) continue;
    await sleep(afterMs);
    if (owner.exitCode !== null) break;
    await kill(owner);
    return line;
  }
  throw new Error(`the process ended by itself after ${seen} steps: ${stderr}`);
}

/** What must hold wherever an engine died: nothing in two hands, and no VF in a namespace that no record gives it to. Returns where it died, in numbers. */
async function assertWhole(host: LinuxHost, when: string): Promise<string> {
  const { held } = await readAsked(host.store, HOST);
  const network = await observeNetwork(host);
  const broken = brokenNetworks([{ host: HOST, network }], await readShared(host.store));
  assert.deepEqual(broken, [], when);
  const holders = new Map(held.vfs.map((record) => [vfKey(record), record.container]));
  assert.equal(new Set(held.vfs.map(holderOf)).size, held.vfs.length, `two VFs in one hand, ${when}`);
  const handed = network.functions.virtual.filter(({ link }) => link !== null && link.namespace !== '');
  for (const vf of handed)
    assert.equal(holders.get(vfKey(vf)), vf.link?.namespace, `${vfKey(vf)} is another's, ${when}`);
  const bound = network.functions.virtual.filter(({ driver }) => driver !== null);
  return `${network.functions.virtual.length} VFs, ${bound.length} bound, ${handed.length} handed, ${held.vfs.length} held`;
}

/** Everybody who is attached in the end reaches whom he may, and nobody else. */
async function assertReached({ last }: FunctionsLife, host: LinuxHost): Promise<void> {
  const isUp = async (name: string): Promise<boolean> =>
    (await host.links.list([name])).every(({ carrier, type }) => carrier || type === 'loopback');
  for (const name of last) await waitUntil(() => isUp(name), `the links of ${name}`);
  const places = last.flatMap((name) => NETWORKS_OF[name]!.map((network) => ({ name, network })));
  const questions = places.flatMap(({ name, network }) =>
    places
      .filter((to) => to.name !== name && (to.network === 'blue') === (network === 'blue'))
      .map((to) => ({ from: name, to: addressIn(to.name, to.network), answers: to.network === network })),
  );
  // What it begins itself goes elsewhere: only its replies know the way to the wire.
  for (const name of last.filter((each) => NETWORKS_OF[each]!.includes('office')))
    questions.push({ from: '', to: addressIn(name, 'office'), answers: true });
  const ask = async (some: typeof questions) => {
    const results = await host.probes.send(some.map(({ from, to }) => icmp(from, to)));
    return some.map(({ from, to }, index) => ({ from, to, answers: results[index]!.answeredBy !== null }));
  };
  assert.ok(questions.some(({ answers }) => !answers));
  // An answer may come too late where everything is slow.
  const may = questions.filter(({ answers }) => answers);
  let silent = may;
  const hearAll = async (): Promise<boolean> => {
    const asked = await ask(silent);
    silent = silent.filter((_, index) => !asked[index]!.answers);
    return silent.length === 0;
  };
  await waitUntil(hearAll, 'answers').catch((cause: unknown) => {
    throw new Error(silent.map(({ from, to }) => `${from} does not reach ${to}`).join(), { cause });
  });
  assert.deepEqual(await ask(questions), questions);
}

/** Ceilings are where they are kept: at the VF, and in the class of who is marked for it. */
async function assertLimited({ readBack }: ContractFixture, life: FunctionsLife, host: LinuxHost): Promise<void> {
  const { held } = await readAsked(host.store, HOST);
  for (const record of held.vfs) {
    const ceiling = LAST_LIMITS[record.container]?.ceiling;
    // Of a VF that nobody limits, what it had before holds.
    if (ceiling === undefined) continue;
    assert.equal((await readBack.vf(record))?.maxRateBitsPerSec, ceiling * MBIT, `${record.container} by its VF`);
  }
  const classes = execFileSync('tc', ['class', 'show', 'dev', life.uplink], { encoding: 'utf8' });
  // The whole, what nobody marked, and who is in the overlay.
  const shaped = life.last.filter((name) => NETWORKS_OF[name]!.includes('blue') && name in LAST_LIMITS);
  assert.equal(classes.match(/^class htb/gm)?.length, 2 + shaped.length, classes);
  for (const name of shaped) assert.match(classes, new RegExp(`ceil ${LAST_LIMITS[name]!.ceiling}Mbit`));
}

async function live(
  fixture: ContractFixture,
  life: FunctionsLife,
  {
    store,
    kills,
    tell,
  }: { readonly store: SqliteStore; readonly kills: number; readonly tell: (line: string) => void },
): Promise<void> {
  const random = createRandom(life.seed).fork('kills');
  for (let start = 0; start < kills; start++) {
    // The first in the midst of the kernel's making of VFs, which goes on while the process dies: drivers are kept from them then.
    const [steps, afterMs] =
      start === 0 ? [1, 200] : [random.integer(0, STEPS), AFTER_MS[random.integer(0, AFTER_MS.length - 1)]!];
    const step = await killed(life, start, steps, afterMs);
    const host = await openLife(life, store);
    try {
      const when = `killed ${afterMs} ms after step ${steps}, ${step}`;
      tell(`${when}: ${await assertWhole(host, when)}`);
    } finally {
      host.detach();
    }
  }
  const host = await openLife(life, store);
  try {
    const engine = engineOn(host);
    await engine.recover();
    await askFor(engine, store, life, { names: life.last, limits: LAST_LIMITS });
    const asked = await readAsked(store, HOST);
    assert.deepEqual(brokenAtRest(asked, await readShared(store), await observe(host, asked), noPolicy), []);
    assert.equal(asked.held.vfs.length, life.last.filter(isByVf).length);
    await assertReached(life, host);
    await assertLimited(fixture, life, host);
    await engine.ask(null);
    assert.deepEqual(await store.read(''), []);
  } finally {
    await host.close();
  }
}

/** Lives with the uplink addressed, and compares the machine with what it was. */
async function liveAndLeave(
  fixture: ContractFixture,
  given: Pick<FunctionsLife, 'last' | 'bringsVfs'>,
  kills: number,
): Promise<void> {
  const [pf, uplink] = pfsOf(fixture);
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-functions-'));
  const storeFile = join(folder, 'store');
  const life: FunctionsLife = { ...given, seed: SEED, mark: runMark(HOST), storeFile, pf, uplink };
  const store = openSqliteStore(storeFile);
  const told: string[] = [];
  execFileSync('ip', ['address', 'add', `${UPLINK}/24`, 'dev', uplink]);
  try {
    const before = networkOfMachine();
    await live(fixture, life, { store, kills, tell: (line) => void told.push(line) });
    assert.deepEqual(differencesFrom(before), []);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`with PLIMSOLL_SEED=${SEED}, ${told.join('; ')}: ${message}`, { cause: error });
  } finally {
    store.close();
    execFileSync('ip', ['address', 'flush', 'dev', uplink]);
    rmSync(folder, { recursive: true });
  }
}

/** A whole engine on a card. */
export const linuxFunctionsCrashContract: readonly ContractCase[] = [
  {
    name: 'seven VFs are made and handed to seven namespaces while the card’s link goes and comes once',
    async run(fixture) {
      const [pf] = pfsOf(fixture);
      const folder = mkdtempSync(join(tmpdir(), 'plimsoll-functions-'));
      const store = openSqliteStore(join(folder, 'store'));
      const made: string[] = [];
      const engine = new Engine(
        { ...fixture.host, store },
        {
          policies: noPolicy,
          sink: (told) =>
            void (told.kind === 'step' && told.verb === 'virtualFunctions.enable' && made.push(told.target)),
          zeroMs: 0,
        },
      );
      const names = Array.from({ length: 7 }, (_, index) => `c${index}`);
      const changesBefore = carrierChanges(pf);
      try {
        const begun = performance.now();
        await engine.ask({
          memory: null,
          network: {
            networks: [
              {
                name: 'fast',
                kind: 'sriov',
                pool: '10.9.0.0/24',
                internal: false,
                nat: false,
                vf: { select: { pf }, knobs: { vlan: 100, trust: true }, count: 7 },
              },
            ],
          },
          endpoints: names.map((name) => ({
            name,
            attachments: [{ network: 'fast', publish: [] }],
            egress: { ceilingBitsPerSec: 100 * MBIT },
          })),
          containers: [],
        });
        process.stderr.write(`seven VFs attached in ${Math.round(performance.now() - begun)} ms\n`);
        assert.equal(carrierChanges(pf) - changesBefore, 2);
        assert.equal(made.length, 1);
        const { virtual } = await fixture.host.virtualFunctions.list(names);
        assert.deepEqual(new Set(virtual.map(({ link }) => link?.namespace)), new Set(names));
        for (const vf of virtual)
          assert.equal((await fixture.readBack.vf(vf))?.maxRateBitsPerSec, 100 * MBIT, vfKey(vf));
        await engine.ask(null);
        assert.equal(carrierChanges(pf) - changesBefore, 4);
        assert.deepEqual((await fixture.host.virtualFunctions.list([])).virtual, []);
      } finally {
        store.close();
        rmSync(folder, { recursive: true });
      }
    },
  },
  {
    name: 'an engine that brings a card’s VFs is killed with SIGKILL again and again: another takes over, all work, nothing is left',
    run: (fixture) => liveAndLeave(fixture, { last: ['a', 'b', 'c', 'd', 'f', 'g'], bringsVfs: true }, isLong ? 30 : 3),
  },
  {
    name: 'an engine that takes VFs that are there is killed so: they end as they were, by name, MAC and knobs',
    async run(fixture) {
      const [pf] = pfsOf(fixture);
      const vfs = Array.from({ length: VFS }, (_, index) => ({ pf, index }));
      assertApplied(await enable(fixture, [{ pf, count: VFS }]), 1);
      const changed = { mac: '52:54:00:00:00:01', vlan: 7, qos: 3, spoofCheck: false, maxRateBitsPerSec: 70 * MBIT };
      assertApplied(await set(fixture, [{ pf, index: 1, set: changed }]), 1);
      // The last has no driver.
      assertApplied(await bind(fixture, vfs.slice(0, 3)), 3);
      const { name } = await linkOf(fixture, vfs[1]!);
      assertApplied(await fixture.host.links.move([{ namespace: '', name, to: { namespace: '', name: 'theirs' } }]), 1);
      await setLinks(fixture, [change('', 'theirs', { up: true, mtu: 1400, alias: 'somebody’s' })]);
      await liveAndLeave(fixture, { last: ['a', 'b', 'c', 'e', 'f', 'g'], bringsVfs: false }, isLong ? 30 : 2);
    },
  },
];
