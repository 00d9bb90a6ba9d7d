import type { z } from 'zod';
import type { PolicyReference } from '../host/supervision.ts';
import { type Bytes, formatBytes, GIB, type Milliseconds } from '../host/units.ts';
import { containersOf } from './claims.ts';
import { type Problem, ScenarioError } from './errors.ts';
import { hint } from './nearest.ts';
import { isFile } from './policy.ts';
import {
  type Action,
  BACKENDS,
  type Expectation,
  type MemoryDesired,
  type Rules,
  type Scenario,
  type ScenarioContainer,
  type ScenarioFault,
  type ScenarioHost,
  type TimelineEntry,
} from './scenario.ts';
import { inWords, type MemoryWritten, scenarioSchema, type ScenarioWritten } from './schema.ts';
import { type Path, type Source, sourceOfData, sourceOfYaml } from './source.ts';

/** A machine that nobody described. */
const DEFAULT_HOST = { name: 'host', ramBytes: (16 * GIB) as Bytes, cpus: 4 };

/** More would hide the first. */
const PROBLEMS_MAX = 5;

/** Reads a scenario file. @throws ScenarioError with a line for each problem */
export const readScenario = (text: string, file: string, rules: Rules): Scenario =>
  check(sourceOfYaml(text, file), rules);

/** Reads a scenario as a recording keeps it. @throws ScenarioError */
export const scenarioOf = (written: unknown, file: string, rules: Rules): Scenario =>
  check(sourceOfData(written, file), rules);

function check(source: Source, rules: Rules): Scenario {
  const result = scenarioSchema.safeParse(source.data, { error: inWords });
  if (!result.success) throw new ScenarioError(source.file, ordered(problemsOf(result.error.issues, source)));
  const checker = new Checker(result.data, source, rules);
  const scenario = checker.scenario();
  if (checker.problems.length > 0) throw new ScenarioError(source.file, ordered(checker.problems));
  return scenario;
}

function problemsOf(issues: readonly z.core.$ZodIssue[], source: Source): Problem[] {
  const unknown = issues.filter((issue) => issue.code === 'unrecognized_keys');
  // A misspelt key is why another one is missing: say the first alone.
  if (unknown.length > 0)
    return unknown.map(({ path, keys, message }) => ({
      line: source.lineOf([...path, keys[0]!]),
      message: `${nameOf(path)}${message}`,
    }));
  return issues.map(({ path, message }) => ({ line: source.lineOf(path), message: `${nameOf(path)}${message}` }));
}

const ordered = (problems: readonly Problem[]): Problem[] =>
  problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0)).slice(0, PROBLEMS_MAX);

/** `containers.web.request: ` */
const nameOf = (path: Path): string => (path.length === 0 ? '' : `${path.map(String).join('.')}: `);

/** Builds the scenario from what was written, collecting what does not fit together. */
class Checker {
  readonly problems: Problem[] = [];
  readonly #written: ScenarioWritten;
  readonly #source: Source;
  readonly #rules: Rules;
  readonly #hostNames: readonly string[];
  readonly #containerNames: readonly string[];

  constructor(written: ScenarioWritten, source: Source, rules: Rules) {
    this.#written = written;
    this.#source = source;
    this.#rules = rules;
    this.#hostNames = written.hosts === undefined ? [DEFAULT_HOST.name] : Object.keys(written.hosts);
    this.#containerNames = Object.keys(written.containers);
  }

  scenario(): Scenario {
    const written = this.#written;
    if (this.#hostNames.length === 0) this.#problem(['hosts'], 'it is empty: leave it out for one host, or name one');
    if (this.#containerNames.length === 0) this.#problem(['containers'], 'it is empty: there is nothing to run');
    const backends = written.backends ?? BACKENDS;
    return {
      file: this.#source.file,
      title: written.title,
      why: written.why,
      seed: written.seed,
      backends,
      hosts: this.#hostNames.map((name) => this.#host(name)),
      containers: this.#containers(),
      timeline: this.#timeline(),
      endMs: this.#endMs(),
      faults: this.#faults(),
      expectations: this.#expectations(),
      written: this.#source.data,
    };
  }

  #host(name: string): ScenarioHost {
    const written = own(this.#written.hosts, name) ?? {};
    return {
      name,
      ramBytes: this.#ramBytes(name),
      cpus: written.cpus ?? DEFAULT_HOST.cpus,
      ...(written.cgroup !== undefined && { cgroupVersion: written.cgroup }),
      memory: this.#memory(this.#memoryOf(name), this.#ramBytes(name), [
        ['hosts', name, 'memory'],
        ['memory'],
        ['hosts', name],
      ]),
    };
  }

  #ramBytes(host: string): Bytes {
    return (this.#rules.machineRamBytes ?? own(this.#written.hosts, host)?.ram ?? DEFAULT_HOST.ramBytes) as Bytes;
  }

  /** What is written of a host's memory at the beginning: its own settings over those of all. */
  #memoryOf(host: string): MemoryWritten {
    return { ...this.#written.memory, ...own(this.#written.hosts, host)?.memory };
  }

  /** `places`: where the settings may stand, nearest first, for the line of a problem. */
  #memory(written: MemoryWritten, ramBytes: Bytes, places: readonly Path[]): MemoryDesired {
    const place = (setting: string): Path =>
      places.map((path) => [...path, setting]).find((path) => this.#isWritten(path)) ??
      places.find((path) => this.#isWritten(path)) ??
      [];
    const policy = this.#policy(written.policy, place('policy'));
    const rest = { policy, dry: written.dry ?? false };
    if (written.hardLimit === undefined) {
      this.#problem(
        place('hardLimit'),
        'memory.hardLimit is missing: write how much all containers share, hardLimit: 200Mi',
      );
      return { ...rest, line: NO_LINE };
    }
    const { hardLimit, killAt, stopAt, ceiling, lookEvery } = written;
    try {
      const asked = { hardLimitBytes: hardLimit, killAt, stopAt, ceiling, lookEveryMs: lookEvery };
      return { ...rest, line: this.#rules.resolveLine(asked, ramBytes) };
    } catch (error) {
      if (!(error instanceof Error && 'setting' in error)) throw error;
      this.#problem(place(String(error.setting).replace(/(?:Bytes|Ms)$/, '')), error.message);
      return { ...rest, line: NO_LINE };
    }
  }

  #policy(written: string | undefined, path: Path): PolicyReference {
    const { policies } = this.#rules;
    const policy = written ?? policies[0]!;
    if (isFile(policy)) return { name: policyNameOf(policy), file: policy };
    if (!policies.includes(policy))
      this.#problem(
        path,
        `there is no policy "${policy}": ${hint(policy, policies)} A file of your own is written ./mine.ts`,
      );
    return { name: policy };
  }

  #containers(): ScenarioContainer[] {
    const started = new Set(this.#written.timeline.map(({ do: what }) => (what === 'end' ? undefined : what.start)));
    return Object.entries(this.#written.containers).map(([name, written]): ScenarioContainer => {
      const path = ['containers', name];
      const host = this.#hostOf(written.host, [...path, 'host']);
      this.#checkRequest(written.request, host, [...path, 'request']);
      return {
        name,
        host,
        requestBytes: written.request,
        priority: written.priority ?? 0,
        workload: written.workload,
        fromBeginning: !started.has(name),
      };
    });
  }

  /** The host that is meant: the only one, where none is named. */
  #hostOf(written: string | undefined, path: Path): string {
    if (written !== undefined && !this.#hostNames.includes(written))
      this.#problem(path, `there is no host "${written}": ${hint(written, this.#hostNames)}`);
    if (written === undefined && this.#hostNames.length > 1)
      this.#problem(path, `there are ${this.#hostNames.length} hosts: say which, host: ${this.#hostNames[0]}`);
    return written ?? this.#hostNames[0] ?? DEFAULT_HOST.name;
  }

  #checkRequest(requestBytes: number, host: string, path: Path): void {
    const ramBytes = this.#ramBytes(host);
    if (requestBytes > ramBytes)
      this.#problem(
        path,
        `a request of ${formatBytes(requestBytes)} is more than its host's RAM of ${formatBytes(ramBytes)}: lower it`,
      );
  }

  #timeline(): TimelineEntry[] {
    const lifecycle = new Map<string, 'there' | 'absent'>();
    const memory = new Map(this.#hostNames.map((name) => [name, this.#memoryOf(name)]));
    const firsts = new Map<string, string>();
    const entries = this.#written.timeline.map((entry, index) => ({ ...entry, index })).toSorted((a, b) => a.at - b.at);
    for (const { do: what } of entries) {
      if (what !== 'end' && what.start !== undefined && !firsts.has(what.start)) firsts.set(what.start, 'start');
    }
    for (const name of this.#containerNames) lifecycle.set(name, firsts.has(name) ? 'absent' : 'there');

    return entries.flatMap(({ at, do: what, index }): TimelineEntry[] => {
      if (what === 'end') return [];
      const path = ['timeline', index, 'do'];
      const action = this.#action(what, path, lifecycle, memory);
      return action === undefined ? [] : [{ atMs: at, action }];
    });
  }

  #action(
    what: Exclude<ScenarioWritten['timeline'][number]['do'], 'end'>,
    path: Path,
    lifecycle: Map<string, 'there' | 'absent'>,
    memory: Map<string, MemoryWritten>,
  ): Action | undefined {
    if (what.start !== undefined) {
      if (!this.#isContainer(what.start, [...path, 'start'])) return undefined;
      if (lifecycle.get(what.start) === 'there')
        this.#problem([...path, 'start'], `"${what.start}" is there already: stop it first`);
      lifecycle.set(what.start, 'there');
      return { kind: 'start', container: what.start };
    }
    if (what.stop !== undefined) {
      if (!this.#isContainer(what.stop, [...path, 'stop'])) return undefined;
      if (lifecycle.get(what.stop) === 'absent')
        this.#problem([...path, 'stop'], `"${what.stop}" is not there at that time: start it first`);
      lifecycle.set(what.stop, 'absent');
      return { kind: 'stop', container: what.stop };
    }
    if (what.request !== undefined) {
      const { container, to } = what.request;
      if (!this.#isContainer(container, [...path, 'request', 'container'])) return undefined;
      this.#checkRequest(to, own(this.#written.containers, container)?.host ?? this.#hostNames[0]!, [
        ...path,
        'request',
        'to',
      ]);
      return { kind: 'request', container, requestBytes: to };
    }
    if (what.memory !== undefined) {
      const { host: named, ...changes } = what.memory;
      const host = this.#hostOf(named, [...path, 'memory', 'host']);
      const changed = { ...memory.get(host), ...changes };
      memory.set(host, changed);
      return { kind: 'memory', host, memory: this.#memory(changed, this.#ramBytes(host), [[...path, 'memory']]) };
    }
    const crash = what.crash!;
    return {
      kind: 'crash',
      host: this.#hostOf(crash.host, [...path, 'crash', 'host']),
      restartAfterMs: crash.restartAfter,
    };
  }

  #isContainer(name: string, path: Path): boolean {
    if (this.#containerNames.includes(name)) return true;
    this.#problem(path, `there is no container "${name}": ${hint(name, this.#containerNames)}`);
    return false;
  }

  #endMs(): Milliseconds {
    const { timeline } = this.#written;
    const ends = timeline.flatMap((entry, index) => (entry.do === 'end' ? [{ atMs: entry.at, index }] : []));
    const [end, another] = ends;
    if (end === undefined) {
      this.#problem(['timeline'], 'the timeline has no end: write { at: 10s, do: end }');
      return 0 as Milliseconds;
    }
    if (another !== undefined) this.#problem(['timeline', another.index], 'it ends twice: keep one end');
    if (end.atMs === 0) this.#problem(['timeline', end.index], 'it ends at 0: let the scenario last, at: 10s');
    for (const [index, entry] of timeline.entries()) {
      if (entry.do !== 'end' && entry.at >= end.atMs)
        this.#problem(['timeline', index], 'it comes when the scenario has ended: put the end later');
    }
    return end.atMs;
  }

  #faults(): ScenarioFault[] {
    const { faults = [], backends } = this.#written;
    if (faults.length > 0 && backends?.includes('linux') === true)
      this.#problem(
        ['backends'],
        'only a simulated host can have faults: write backends: [sim], or leave the faults out',
      );
    for (const [index, fault] of faults.entries()) {
      if (fault.host !== undefined) this.#hostOf(fault.host, ['faults', index, 'host']);
      try {
        this.#rules.checkFault(fault);
      } catch (error) {
        this.#problem(['faults', index, 'on'], error instanceof Error ? error.message : String(error));
      }
    }
    return faults;
  }

  #expectations(): Expectation[] {
    return (this.#written.expectations ?? []).map(
      ({ text, that: { claim, host }, backends, policies }, index): Expectation => {
        const path = ['expectations', index];
        for (const name of containersOf(claim)) this.#isContainer(name, [...path, 'that']);
        if (host !== undefined) this.#hostOf(host, [...path, 'that', 'host']);
        for (const [at, policy] of (policies ?? []).entries()) {
          if (!this.#rules.policies.includes(policy) && !this.#isPolicyOfOwn(policy))
            this.#problem(
              [...path, 'policies', at],
              `there is no policy "${policy}": ${hint(policy, this.#rules.policies)}`,
            );
        }
        return {
          text,
          claim,
          ...(host !== undefined && { host }),
          backends: backends ?? BACKENDS,
          ...(policies !== undefined && { policies }),
        };
      },
    );
  }

  /** Is this the name of a file that the scenario gives as a policy? */
  #isPolicyOfOwn(name: string): boolean {
    const { memory, hosts = {}, timeline } = this.#written;
    return [
      memory,
      ...Object.values(hosts).map((host) => host.memory),
      ...timeline.map(({ do: what }) => (what === 'end' ? undefined : what.memory)),
    ]
      .map((settings) => settings?.policy)
      .some((policy) => policy !== undefined && isFile(policy) && policyNameOf(policy) === name);
  }

  #isWritten(path: Path): boolean {
    let at: unknown = this.#source.data;
    for (const key of path) {
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return false;
      at = (at as Record<PropertyKey, unknown>)[key];
    }
    return true;
  }

  #problem(path: Path, message: string): void {
    const line = this.#source.lineOf(path);
    if (!this.problems.some((problem) => problem.line === line && problem.message === message))
      this.problems.push({ line, message });
  }
}

/** Stands in where a problem was told: the scenario is thrown away. */
const NO_LINE: MemoryDesired['line'] = {
  hardLimitBytes: 0 as Bytes,
  killAtBytes: 0 as Bytes,
  stopAtBytes: 0 as Bytes,
  ceilingBytes: 0 as Bytes,
  lookEveryMs: 0 as Milliseconds,
};

/** `./policies/mine.ts` is called mine. */
const policyNameOf = (file: string): string => file.replace(/^.*\//, '').replace(/\.[^.]*$/, '');

const own = <T>(map: Readonly<Record<string, T>> | undefined, key: string): T | undefined =>
  map !== undefined && Object.hasOwn(map, key) ? map[key] : undefined;
