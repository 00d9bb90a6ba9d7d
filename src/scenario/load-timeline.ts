import type { Milliseconds } from '../host/units.ts';
import { type Checking } from './checking.ts';
import { byHandOf, isSimulatedAlone } from './load-by-hand.ts';
import { checkRequest, memoryOf, memoryWrittenOf, ramBytesOf } from './load-memory.ts';
import { checkPlaces, type Placed } from './load-networks.ts';
import {
  type Action,
  type Attachment,
  BACKENDS,
  type EgressRequest,
  type ScenarioContainer,
  type ScenarioHost,
  type TimelineEntry,
} from './scenario.ts';
import type { MemoryWritten, ScenarioWritten } from './schema.ts';
import type { Path } from './source.ts';

type What = Exclude<ScenarioWritten['timeline'][number]['do'], 'end'>;

/** What the timeline does, in order of time. */
export function timelineOf(
  checking: Checking,
  hosts: readonly ScenarioHost[],
  containers: readonly ScenarioContainer[],
): TimelineEntry[] {
  const course = new Course(checking, hosts, containers);
  const entries = checking.written.timeline.map((entry, index) => ({ ...entry, index }));
  return entries
    .toSorted((a, b) => a.at - b.at)
    .flatMap(({ at, do: what, mayBeRefused = false, index }): TimelineEntry[] => {
      if (what === 'end') return [];
      const action = course.take(what, ['timeline', index, 'do'], mayBeRefused);
      return action === undefined ? [] : [{ atMs: at, action, mayBeRefused }];
    });
}

/** When the scenario ends. */
export function endMsOf(checking: Checking): Milliseconds {
  const { timeline } = checking.written;
  const ends = timeline.flatMap((entry, index) => (entry.do === 'end' ? [{ atMs: entry.at, index }] : []));
  const [end, another] = ends;
  if (end === undefined) {
    checking.problem(['timeline'], 'the timeline has no end: write { at: 10s, do: end }');
    return 0 as Milliseconds;
  }
  if (another !== undefined) checking.problem(['timeline', another.index], 'it ends twice: keep one end');
  if (end.atMs === 0) checking.problem(['timeline', end.index], 'it ends at 0: let the scenario last, at: 10s');
  for (const [index, entry] of timeline.entries()) {
    if (entry.do !== 'end' && entry.at >= end.atMs)
      checking.problem(['timeline', index], 'it comes when the scenario has ended: put the end later');
  }
  return end.atMs;
}

/** What is there as the timeline goes on. */
class Course {
  readonly #checking: Checking;
  readonly #hosts: readonly ScenarioHost[];
  readonly #containers: ReadonlyMap<string, ScenarioContainer>;
  /** Where those are that are there. */
  readonly #there = new Map<string, readonly Attachment[]>();
  /** What each may send, whether it is there or not. */
  readonly #egressOf: Map<string, EgressRequest>;
  readonly #memory: Map<string, MemoryWritten>;
  readonly #down = new Set<string>();

  constructor(checking: Checking, hosts: readonly ScenarioHost[], containers: readonly ScenarioContainer[]) {
    this.#checking = checking;
    this.#hosts = hosts;
    this.#containers = new Map(containers.map((container) => [container.name, container]));
    this.#memory = new Map(hosts.map(({ name }) => [name, memoryWrittenOf(checking, name)]));
    this.#egressOf = new Map(containers.flatMap(({ name, egress }) => (egress === undefined ? [] : [[name, egress]])));
    for (const { name, fromBeginning, attachments = [] } of containers)
      if (fromBeginning) this.#there.set(name, attachments);
    this.#checkPlaces();
  }

  /** Of what may be refused nothing is taken to have happened. Undefined: a problem was told. */
  take(what: What, path: Path, mayBeRefused: boolean): Action | undefined {
    const checking = this.#checking;
    if (mayBeRefused && what.byHand === undefined) return this.#try(what, path);
    if (what.start !== undefined) return this.#start(what.start, [...path, 'start']);
    if (what.stop !== undefined) {
      if (!this.#isThere(what.stop, [...path, 'stop'])) return undefined;
      this.#there.delete(what.stop);
      return { kind: 'stop', container: what.stop };
    }
    if (what.request !== undefined) {
      const { container, to } = what.request;
      if (!checking.isContainer(container, [...path, 'request', 'container'])) return undefined;
      this.#isUp(checking.hostOfContainer(container), path);
      checkRequest(checking, to, checking.hostOfContainer(container), [...path, 'request', 'to']);
      return { kind: 'request', container, requestBytes: to };
    }
    if (what.memory !== undefined) {
      const { host: named, ...changes } = what.memory;
      const host = checking.hostOf(named, [...path, 'memory', 'host']);
      this.#isUp(host, path);
      const changed = { ...this.#memory.get(host), ...changes };
      this.#memory.set(host, changed);
      const memory = memoryOf(checking, changed, ramBytesOf(checking, host), [[...path, 'memory']]);
      return { kind: 'memory', host, memory };
    }
    if (what.crash !== undefined) {
      const host = checking.hostOf(what.crash.host, [...path, 'crash', 'host']);
      this.#isUp(host, path);
      return { kind: 'crash', host, restartAfterMs: what.crash.restartAfter };
    }
    if (what.attach !== undefined) return this.#attach(what.attach, [...path, 'attach']);
    if (what.detach !== undefined) return this.#detach(what.detach, [...path, 'detach']);
    if (what.egress !== undefined) return this.#egress(what.egress, [...path, 'egress']);
    if (what.hostDown !== undefined) return this.#turn('hostDown', what.hostDown.host, [...path, 'hostDown']);
    if (what.hostUp !== undefined) return this.#turn('hostUp', what.hostUp.host, [...path, 'hostUp']);
    const { host: named, ...written } = what.byHand!;
    if (isSimulatedAlone(written) && (checking.written.backends ?? BACKENDS).includes('linux'))
      checking.problem([...path, 'byHand'], 'only a simulated host can have that befall it: write backends: [sim]');
    const host = checking.hostOf(named, [...path, 'byHand', 'host']);
    const changes = byHandOf(checking, written, this.#hosts, this.#containers, [...path, 'byHand']);
    return { kind: 'byHand', host, changes };
  }

  /** What a host is asked, and may refuse. */
  #try({ start, attach, egress, ...what }: What, path: Path): Action | undefined {
    const container = start ?? attach?.container ?? egress?.container;
    if (container === undefined) {
      this.#checking.problem(
        [...path, Object.keys(what)[0]!],
        'only start, attach, egress and what is done by hand may be refused',
      );
      return undefined;
    }
    if (start === undefined ? !this.#isThere(container, path) : !this.#checking.isContainer(container, path))
      return undefined;
    if (start !== undefined) return { kind: 'start', container };
    if (attach !== undefined) return { kind: 'attach', ...attach };
    return { kind: 'egress', ...egress! };
  }

  #egress({ container, egress }: NonNullable<What['egress']>, path: Path): Action | undefined {
    if (!this.#isThere(container, [...path, 'container'])) return undefined;
    if (egress === undefined) this.#egressOf.delete(container);
    else this.#egressOf.set(container, egress);
    this.#checkPlaces({ container, path });
    return { kind: 'egress', container, ...(egress !== undefined && { egress }) };
  }

  #start(name: string, path: Path): Action | undefined {
    if (!this.#checking.isContainer(name, path)) return undefined;
    if (this.#there.has(name)) this.#checking.problem(path, `"${name}" is there already: stop it first`);
    this.#isUp(this.#checking.hostOfContainer(name), path);
    this.#there.set(name, this.#containers.get(name)?.attachments ?? []);
    this.#checkPlaces({ container: name, path });
    return { kind: 'start', container: name };
  }

  #attach({ container, attachment }: NonNullable<What['attach']>, path: Path): Action | undefined {
    const { network } = attachment;
    if (!this.#isThere(container, [...path, 'container'])) return undefined;
    if (!this.#checking.isNetwork(network, [...path, 'network'])) return undefined;
    const before = this.#there.get(container)!;
    if (before.length === 0)
      this.#checking.problem(
        [...path, 'container'],
        `"${container}" runs in the network of its host and cannot leave it: give it a network from its beginning`,
      );
    this.#there.set(container, [...before, attachment]);
    this.#checkPlaces({ container, path });
    return { kind: 'attach', container, attachment };
  }

  #detach({ container, network }: NonNullable<What['detach']>, path: Path): Action | undefined {
    if (!this.#isThere(container, [...path, 'container'])) return undefined;
    if (!this.#checking.isNetwork(network, [...path, 'network'])) return undefined;
    const before = this.#there.get(container)!;
    const rest = before.filter((each) => each.network !== network);
    if (rest.length === before.length)
      this.#checking.problem([...path, 'network'], `"${container}" is not attached to ${network} at that time`);
    else if (rest.length === 0)
      this.#checking.problem([...path, 'network'], `${network} is the last network of "${container}": stop it instead`);
    this.#there.set(container, rest);
    return { kind: 'detach', container, network };
  }

  #turn(kind: 'hostDown' | 'hostUp', named: string | undefined, path: Path): Action | undefined {
    const host = this.#checking.hostOf(named, [...path, 'host']);
    const uplink = this.#hosts.find(({ name }) => name === host)?.uplink?.link;
    if (uplink === undefined) {
      this.#checking.problem(path, 'a host falls silent to others by networks, and there are none: crash its engine');
      return undefined;
    }
    if (this.#down.has(host) === (kind === 'hostDown'))
      this.#checking.problem(path, `host ${host} is ${kind === 'hostDown' ? 'down' : 'up'} already at that time`);
    if (kind === 'hostDown') this.#down.add(host);
    else this.#down.delete(host);
    return { kind, host, uplink };
  }

  #isThere(name: string, path: Path): boolean {
    if (!this.#checking.isContainer(name, path)) return false;
    this.#isUp(this.#checking.hostOfContainer(name), path);
    if (this.#there.has(name)) return true;
    this.#checking.problem(path, `"${name}" is not there at that time: start it first`);
    return false;
  }

  #isUp(host: string, path: Path): void {
    if (this.#down.has(host))
      this.#checking.problem(path, `host ${host} is down at that time, and nobody there hears of it: hostUp first`);
  }

  #checkPlaces(change?: { readonly container: string; readonly path: Path }): void {
    const placed = [...this.#there].map(([name, attachments]): Placed => {
      const egress = this.#egressOf.get(name);
      const host = this.#checking.hostOfContainer(name);
      return { name, host, attachments, ...(egress !== undefined && { egress }) };
    });
    checkPlaces(this.#checking, this.#hosts, placed, change);
  }
}
