import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { ownNamespaceOf } from '../../backends/linux/fabric.ts';
import { openLinuxHost } from '../../backends/linux/host.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { ownerOf, runMark } from '../../backends/linux/owner.ts';
import { lockRoot } from '../../backends/linux/root-lock.ts';
import { runsHere, sweepDeadRuns } from '../../backends/linux/runs.ts';
import { HostError } from '../../src/host/errors.ts';
import { noStore } from '../../src/commands/no-store.ts';
import { assertApplied, assertRefused, constant, type ContractCase, inPen, makeCgroups } from './contract.ts';
import { entries } from './linux-host.ts';
import { kill, startOwner, tracesOf } from './linux-run.ts';
import {
  address,
  addEntries,
  assertAnswered,
  bridge,
  change,
  makeLinks,
  makeNamespaces,
  probe,
  setLinks,
  udp,
  veth,
} from './network.ts';

const MARK = 'contract';

const pidsIn = (file: string): string[] =>
  execFileSync('ip', ['netns', 'pids', file], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '');

/** What only a real machine can show of namespaces and links. */
export const linuxNetworkContract: readonly ContractCase[] = [
  {
    name: 'a container lives in the namespace its spec names, or in the host’s own; where that is not there: ENODEV',
    async run(fixture) {
      const { host, settle } = fixture;
      await makeNamespaces(fixture, ['web']);
      await makeCgroups(fixture, ['pen', 'pen/a', 'pen/b', 'pen/c']);
      const [a, b, c] = ['a', 'b', 'c'].map((name) => inPen(name, constant(4)));
      assertApplied(await settle(() => host.containers.start([{ ...a!, namespace: 'web' }, b!])), 2);
      assert.equal(pidsIn(`${runMark(MARK)}+web`).length, 1);
      assert.equal(pidsIn(runMark(MARK)).length, 1);
      assertRefused(await settle(() => host.containers.start([{ ...c!, namespace: 'nowhere' }])), {
        applied: 0,
        code: 'ENODEV',
        operation: 'containers.start',
        target: 'c',
      });
    },
  },
  {
    name: "a link into somebody else's namespace by its path; the namespace itself is left alone",
    async run(fixture) {
      const { host, readBack } = fixture;
      const foreign = spawn('unshare', ['--net', 'sleep', '60'], { stdio: 'ignore' });
      try {
        await fixture.waitUntil(
          () => readFileSync(`/proc/${foreign.pid}/comm`, 'utf8').startsWith('sleep'),
          'the other process to be in its namespace',
        );
        const path = `/proc/${foreign.pid}/ns/net`;
        await makeLinks(fixture, [veth('v0', path)]);
        await setLinks(fixture, [change('', 'v0', { up: true }), change(path, 'eth0', { up: true })]);
        await addEntries(fixture, [address('', 'v0', '10.1.0.1/24'), address(path, 'eth0', '10.1.0.5/24')]);
        const results = await probe(fixture, [{ host, namespace: path }], [udp('', '10.1.0.5')]);
        assertAnswered(results, [`${host.name}/${path}`]);
        assert.deepEqual(await host.namespaces.list(), []);
      } finally {
        const gone = once(foreign, 'exit');
        foreign.kill('SIGKILL');
        await gone;
      }
      await fixture.waitUntil(async () => (await readBack.link({ namespace: '', name: 'v0' })) === null, 'v0 to go');
    },
  },
  {
    name: 'a proxy entry that somebody else made is not told: its link is everybody’s',
    async run(fixture) {
      const { host } = fixture;
      await makeLinks(fixture, [bridge('br0')]);
      await addEntries(fixture, [{ kind: 'proxy', namespace: '', link: 'br0', address: '10.1.0.7' }]);
      execFileSync('ip', ['-n', runMark(MARK), 'neigh', 'add', 'proxy', '10.1.0.8', 'dev', 'br0']);
      const proxies = (await host.routing.list([''])).filter(({ kind }) => kind === 'proxy');
      assert.deepEqual(proxies, [{ kind: 'proxy', namespace: '', link: 'br0', address: '10.1.0.7' }]);
    },
  },
  {
    name: 'a dead run that a living process has taken over is not swept',
    async run() {
      const { owner, mark } = await startOwner();
      await kill(owner);
      const lock = await lockRoot(mark);
      await sweepDeadRuns();
      assert.notDeepEqual(tracesOf(mark), []);
      lock.release();
      await sweepDeadRuns();
      assert.deepEqual(tracesOf(mark), []);
    },
  },
  {
    name: 'a file that a crash left before anything was mounted on it is no namespace, and becomes one',
    async run(fixture) {
      const { host, readBack } = fixture;
      const file = `${ownNamespaceOf(runMark(MARK))}+half`;
      await makeNamespaces(fixture, ['other']);
      writeFileSync(file, '');
      try {
        assert.deepEqual(await host.namespaces.list(), ['other']);
        await makeNamespaces(fixture, ['half']);
        assert.deepEqual(await host.namespaces.list(), ['half', 'other']);
        assert.equal((await readBack.link({ namespace: 'half', name: 'lo' }))?.up, true);
      } finally {
        await host.namespaces.remove(['half']);
        rmSync(file, { force: true });
      }
    },
  },
  {
    name: 'after work in another namespace, also work that fails, this process is in its own',
    async run(fixture) {
      const { host } = fixture;
      const where = (): string => execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' });
      const before = where();
      await makeNamespaces(fixture, ['web']);
      await host.links.set([change('web', 'nosuch', { up: true, ipv6: true }), change('web', 'lo', { ipv6: true })]);
      const root = new NetworkRoot({ mark: runMark(MARK), own: null });
      assert.notEqual(root.within('web', where), before);
      assert.throws(() => root.within('web', () => JSON.parse('{')), SyntaxError);
      assert.equal(where(), before);
    },
  },
  {
    name: 'a root that a living process has open is refused: EBUSY, naming it; let go, or dead, it is not',
    async run() {
      const root = runMark('twice');
      const open = () => openLinuxHost({ name: 'twice', root, entries, store: noStore });
      const first = await open();
      const isRefused = (pid: number) => (error: unknown) => {
        assert.ok(error instanceof HostError);
        assert.equal(error.code, 'EBUSY');
        assert.match(error.message, new RegExp(String.raw`\b${pid}\b`));
        return true;
      };
      try {
        await assert.rejects(open(), isRefused(process.pid));
        first.detach();
        const second = await open();
        await assert.rejects(open(), isRefused(process.pid));
        await second.close();
        await (await open()).close();
      } finally {
        await first.close();
      }
      const { owner, mark } = await startOwner();
      const take = () => openLinuxHost({ name: 'taken', root: mark, entries, store: noStore });
      try {
        await assert.rejects(take(), isRefused(owner.pid!));
      } finally {
        await kill(owner);
      }
      await (await take()).close();
      assert.deepEqual(tracesOf(mark), []);
    },
  },
  {
    name: 'namespaces that alone are left of a dead run are found and swept; those of a living one never',
    async run(fixture) {
      await makeNamespaces(fixture, ['web']);
      // A process of this number that began another day.
      const self = ownerOf(runMark(MARK))!;
      const dead = runMark('gone', { ...self, startTicks: '1' });
      for (const name of [dead, `${dead}+web`]) execFileSync('ip', ['netns', 'add', name]);
      execFileSync('ip', ['-n', dead, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'eth0', 'netns', `${dead}+web`]);
      const isAlive = new Map(runsHere().map((run) => [run.mark, run.isAlive]));
      assert.deepEqual([isAlive.get(dead), isAlive.get(runMark(MARK))], [false, true]);
      assert.ok((await sweepDeadRuns()).includes(dead));
      const left = readdirSync('/run/netns');
      assert.deepEqual(
        left.filter((name) => name.startsWith(dead)),
        [],
      );
      assert.ok(left.includes(runMark(MARK)) && left.includes(`${runMark(MARK)}+web`));
    },
  },
];
