import type { Applied } from '../../src/host/batch.ts';
import type { CgroupReader, Cgroups } from '../../src/host/cgroups.ts';
import { HostError } from '../../src/host/errors.ts';
import type { Host } from '../../src/host/host.ts';
import { targetOf, type Step, type Verb, type Verbs } from '../../src/host/steps.ts';
import type { CrashPoints } from './crash-points.ts';
import type { EventQueue } from './events.ts';
import type { Call, Faults, Strike } from './faults.ts';
import type { Life } from './life.ts';
import { RememberingReader } from './stale.ts';

/** What a chain is made of. */
export interface ChainParts {
  readonly events: EventQueue;
  readonly faults: Faults;
}

/** What an engine's chain is made of besides. */
export interface EngineParts extends ChainParts {
  readonly life: Life;
  readonly crashPoints: CrashPoints;
  /** Called after every batch that may have changed the host. */
  readonly afterStep: (verb: Verb) => void;
}

/**
 * The host as an engine gets it: every call passes the faults, and once the engine has crashed, none passes any more.
 * The model behind it knows nothing of this.
 */
export function throughChain(host: Host, parts: EngineParts): Host {
  const { clock, machine, cgroups, containers, supervision, store } = host;
  const { namespaces, links, virtualFunctions, routing, firewall, shaper, probes } = host;
  const { events, faults, life, crashPoints, afterStep } = parts;

  /** A call that takes effect whole or not at all; one that changes nothing is crashed before it, never after. */
  async function whole<T>(call: Call, target: string, act: () => Promise<T>, changes = 0): Promise<T> {
    life.check();
    const strike = faults.strike(call, events.nowMs);
    if (strike !== null && strike.delayMs > 0) await life.outlive(clock.sleep(strike.delayMs));
    const applied = crashPoints.pass(changes) ?? crashAfter(strike);
    if (applied === 0) throw life.end(`before ${call}`);
    failIf(strike, call, target);
    const result = await life.outlive(act());
    if (applied !== null) throw life.end(`after ${call}`);
    return result;
  }

  /** A batch: it may fail or crash with any number of its targets applied. */
  async function batch<V extends Verb>(
    verb: V,
    targets: readonly Verbs[V][],
    act: (targets: readonly Verbs[V][]) => Promise<Applied>,
  ): Promise<Applied> {
    life.check();
    const strike = faults.strike(verb, events.nowMs);
    if (strike !== null && strike.delayMs > 0) await life.outlive(clock.sleep(strike.delayMs));
    const crash = crashPoints.pass(targets.length) ?? crashAfter(strike);
    const end = strike?.end ?? null;
    const failAt = end !== null && 'fail' in end && end.after < targets.length ? end : null;
    const reach = crash ?? failAt?.after ?? targets.length;
    const prefix = reach < targets.length ? targets.slice(0, reach) : targets;
    // An empty prefix changes nothing, and nobody sees it asked for.
    const result = prefix.length === 0 && reach < targets.length ? { applied: 0 } : await life.outlive(act(prefix));
    afterStep(verb);
    if (crash !== null) throw life.end(`in ${verb}, ${prefix.length} of ${targets.length} applied`);
    if (failAt === null || result.error !== undefined) return result;
    const target = targetOf({ verb, with: targets[failAt.after]!, why: '' } as unknown as Step);
    return { applied: failAt.after, error: new HostError(failAt.fail, verb, target, DECLARED) };
  }

  /** A call that is over at once. */
  function sync<T>(call: Call, act: (strike: Strike | null) => T): T {
    life.check();
    const strike = faults.strike(call, events.nowMs);
    const applied = crashAfter(strike);
    if (applied === 0) throw life.end(`before ${call}`);
    const result = act(strike);
    if (applied !== null) throw life.end(`after ${call}`);
    return result;
  }

  let lastMs = 0;
  return {
    name: host.name,
    clock: {
      // A late reading of the clock still never goes back.
      monotonicMs: () =>
        sync(
          'clock.monotonicMs',
          (strike) => (lastMs = Math.max(lastMs, clock.monotonicMs() - (strike?.delayMs ?? 0))),
        ),
      wallMs: () => sync('clock.wallMs', (strike) => clock.wallMs() - (strike?.delayMs ?? 0)),
      sleep: async (delayMs, signal) => {
        const lateMs = sync('clock.sleep', (strike) => strike?.delayMs ?? 0);
        await life.outlive(clock.sleep(delayMs + lateMs, signal));
      },
    },
    machine: { describe: () => whole('machine.describe', host.name, () => machine.describe()) },
    cgroups: {
      create: (specs) => batch('cgroups.create', specs, (some) => cgroups.create(some)),
      limit: (limits) => batch('cgroups.limit', limits, (some) => cgroups.limit(some)),
      remove: (paths) => batch('cgroups.remove', paths, (some) => cgroups.remove(some)),
      list: () => whole('cgroups.list', host.name, () => cgroups.list()),
      ...accessThrough(cgroups, 'cgroups', parts, sync),
    },
    containers: {
      start: (specs) => batch('containers.start', specs, (some) => containers.start(some)),
      stop: (names) => batch('containers.stop', names, (some) => containers.stop(some)),
      list: () => whole('containers.list', host.name, () => containers.list()),
    },
    supervision: {
      supervise: (settings) => batch('supervision.supervise', settings, (some) => supervision.supervise(some)),
      release: (parents) => batch('supervision.release', parents, (some) => supervision.release(some)),
      list: () => whole('supervision.list', host.name, () => supervision.list()),
      take: () => sync('supervision.take', () => supervision.take()),
    },
    namespaces: {
      create: (names) => batch('namespaces.create', names, (some) => namespaces.create(some)),
      remove: (names) => batch('namespaces.remove', names, (some) => namespaces.remove(some)),
      list: () => whole('namespaces.list', host.name, () => namespaces.list()),
    },
    links: {
      create: (specs) => batch('links.create', specs, (some) => links.create(some)),
      set: (changes) => batch('links.set', changes, (some) => links.set(some)),
      move: (moves) => batch('links.move', moves, (some) => links.move(some)),
      remove: (names) => batch('links.remove', names, (some) => links.remove(some)),
      list: (names) => whole('links.list', host.name, () => links.list(names)),
    },
    virtualFunctions: {
      enable: (counts) => batch('virtualFunctions.enable', counts, (some) => virtualFunctions.enable(some)),
      set: (changes) => batch('virtualFunctions.set', changes, (some) => virtualFunctions.set(some)),
      bind: (names) => batch('virtualFunctions.bind', names, (some) => virtualFunctions.bind(some)),
      unbind: (names) => batch('virtualFunctions.unbind', names, (some) => virtualFunctions.unbind(some)),
      list: (names) => whole('virtualFunctions.list', host.name, () => virtualFunctions.list(names)),
    },
    routing: {
      add: (entries) => batch('routing.add', entries, (some) => routing.add(some)),
      remove: (entries) => batch('routing.remove', entries, (some) => routing.remove(some)),
      announce: (some) => batch('routing.announce', some, (these) => routing.announce(these)),
      list: (names) => whole('routing.list', host.name, () => routing.list(names)),
    },
    firewall: {
      apply: (changes) => batch('firewall.apply', changes, (some) => firewall.apply(some)),
      read: () => whole('firewall.read', host.name, () => firewall.read()),
    },
    shaper: {
      add: (objects) => batch('shaper.add', objects, (some) => shaper.add(some)),
      remove: (objects) => batch('shaper.remove', objects, (some) => shaper.remove(some)),
      list: (names) => whole('shaper.list', host.name, () => shaper.list(names)),
      counters: (names) => whole('shaper.counters', host.name, () => shaper.counters(names)),
      // What a kernel has needs no look, and cannot fail.
      hasFairQueues: () => shaper.hasFairQueues(),
    },
    probes: {
      answer: async (places) => {
        const answering = await whole('probes.answer', host.name, () => probes.answer(places));
        return { arrivals: reading(life, () => answering.arrivals()), close: closing(life, answering) };
      },
      send: (sent) => whole('probes.send', host.name, () => probes.send(sent)),
      receive: async (places) => {
        const receiving = await whole('probes.receive', host.name, () => probes.receive(places));
        return { wireBytes: reading(life, () => receiving.wireBytes()), close: closing(life, receiving) };
      },
      stream: async (streams) => ({
        close: closing(life, await whole('probes.stream', host.name, () => probes.stream(streams))),
      }),
    },
    store: {
      read: (prefix) => whole('store.read', prefix, () => store.read(prefix)),
      commit: (transaction) => whole('store.commit', 'the store', () => store.commit(transaction), 1),
      // A late watch is one that tells late, each time.
      watch: async (prefix, notify, signal) => {
        const watching = sync('store.watch', (strike) => {
          failIf(strike, 'store.watch', prefix);
          const tell = (): void => void (life.isOver || signal.aborted || notify());
          const lateMs = strike?.delayMs ?? 0;
          const notice = lateMs === 0 ? tell : (): void => void events.at(events.nowMs + lateMs, tell, true);
          const begun = life.outlive(store.watch(prefix, notice, signal));
          // A crash after it ends this wait too, and nobody is left to hear of that.
          begun.catch(() => undefined);
          return begun;
        });
        await watching;
      },
      openSession: (ttlMs) => whole('store.openSession', 'the store', () => store.openSession(ttlMs), 1),
      renewSession: (session) => whole('store.renewSession', session, () => store.renewSession(session), 1),
      endSession: (session) => whole('store.endSession', session, () => store.endSession(session), 1),
    },
  };
}

/** Closes sockets; they are closed also when the process ends that has them. */
function closing(life: Life, sockets: { close(): Promise<void> }): () => Promise<void> {
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  life.outlive(closed).catch(() => sockets.close());
  return async () => {
    life.check();
    await sockets.close();
    resolve();
  };
}

/** Reads what came to sockets, as long as somebody lives to read it. */
const reading =
  <T>(life: Life, read: () => Promise<T>): (() => Promise<T>) =>
  async () => {
    life.check();
    return await read();
  };

/** Reading and killing as a supervisor gets them: its faults are its own, and no crash of an engine touches it. */
export const supervisorAccess = (cgroups: Cgroups, parts: ChainParts): Pick<Cgroups, 'open' | 'kill'> =>
  (['supervisor.open', 'supervisor.read', 'supervisor.kill'] as const).some((call) => parts.faults.concerns(call))
    ? accessThrough(cgroups, 'supervisor', parts, (call, act) => act(parts.faults.strike(call, parts.events.nowMs)))
    : cgroups;

function accessThrough(
  cgroups: Cgroups,
  of: 'cgroups' | 'supervisor',
  { events, faults }: ChainParts,
  sync: <T>(call: Call, act: (strike: Strike | null) => T) => T,
): Pick<Cgroups, 'open' | 'kill'> {
  const keepMs = faults.delayMaxMs(`${of}.read`);
  const reader = (inner: CgroupReader): CgroupReader => {
    const past = keepMs > 0 ? new RememberingReader(inner, keepMs) : null;
    return {
      path: inner.path,
      usageBytes: () =>
        sync(`${of}.read`, (strike) => {
          failIf(strike, 'cgroups.read', inner.path);
          return past === null ? inner.usageBytes() : past.read(events.nowMs, strike?.delayMs ?? 0).usageBytes;
        }),
      readStat: (into) =>
        sync(`${of}.read`, (strike) => {
          failIf(strike, 'cgroups.read', inner.path);
          if (past === null) return inner.readStat(into);
          const { anonBytes, fileBytes, inactiveFileBytes, shmemBytes } = past.read(events.nowMs, strike?.delayMs ?? 0);
          return Object.assign(into, { anonBytes, fileBytes, inactiveFileBytes, shmemBytes });
        }),
      close: () => inner.close(),
    };
  };
  return {
    open: (path) =>
      sync(`${of}.open`, (strike) => {
        failIf(strike, 'cgroups.open', path);
        return reader(cgroups.open(path));
      }),
    kill: (path) =>
      sync(`${of}.kill`, (strike) => {
        failIf(strike, 'cgroups.kill', path);
        if (strike === null || strike.delayMs === 0) cgroups.kill(path);
        else killLater(cgroups, path, events, strike.delayMs);
      }),
  };
}

/** The signal is under way: whoever sent it hears at once whether there is such a cgroup, and nothing later. */
function killLater(cgroups: Cgroups, path: string, events: EventQueue, delayMs: number): void {
  cgroups.open(path).close();
  events.at(events.nowMs + delayMs, () => {
    try {
      cgroups.kill(path);
    } catch (error) {
      if (!(error instanceof HostError && error.code === 'ENOENT')) throw error;
    }
  });
}

const DECLARED = { detail: 'a fault of the simulation' };

/** @throws HostError where the strike is a failure. */
function failIf(strike: Strike | null, operation: string, target: string): void {
  if (strike?.end !== null && strike !== null && 'fail' in strike.end)
    throw new HostError(strike.end.fail, operation, target, DECLARED);
}

const crashAfter = (strike: Strike | null): number | null =>
  strike?.end != null && 'crash' in strike.end ? strike.end.crash : null;
