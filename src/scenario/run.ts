import type { Engine } from '../engine/engine.ts';
import type { Observation, ObservationSink, RunHeader } from '../engine/observation.ts';
import type { Clock } from '../host/clock.ts';
import type { Host } from '../host/host.ts';
import type { VfName } from '../host/virtual-functions.ts';
import { Addressing } from './addressing.ts';
import type { Mishap } from './by-hand.ts';
import { CardWatch } from './card-watch.ts';
import { judge, type Verdict } from './expectations.ts';
import { asked, HostRun, sinceMs } from './host-run.ts';
import { type Kill, killsOf } from './kills.ts';
import { Leases } from './leases.ts';
import { policiesOf } from './policy.ts';
import { Prober, type Reached } from './probing.ts';
import { Meter } from './measuring.ts';
import type { BackendName, Claim, Scenario, TimelineEntry } from './scenario.ts';

/** What of a host somebody beside its engine can reach. */
export interface Bystander extends Pick<
  Host,
  'namespaces' | 'links' | 'virtualFunctions' | 'routing' | 'firewall' | 'shaper' | 'probes'
> {
  /** @throws HostError EOPNOTSUPP for what this host cannot be made to suffer */
  befall(mishap: Mishap): Promise<void>;
  /** By container the minor of the class that its packets are marked for. */
  classes(): Promise<ReadonlyMap<string, number>>;
  /** VFs that the store says are in somebody's hand, or not yet given back. */
  held(): Promise<readonly VfName[]>;
}

/** Where a scenario runs: machines, and the time they share. */
export interface ScenarioBackend {
  readonly name: BackendName;
  /** Goes on whatever crashes. */
  readonly clock: Clock;
  /** A new engine's handle of this host. */
  connect(host: string): Promise<Host>;
  /** Ends every handle of this host that there is: nothing done through it has any effect from here on. */
  crash(host: string): Promise<void>;
  /** The host past all faults, and alive whatever crashes: where probes are sent, and where somebody changes things by hand. */
  bystander(host: string): Bystander;
  /** Lets time pass until the work has settled. */
  drive<T>(work: () => Promise<T>): Promise<T>;
}

/** What of an engine a run needs. */
export type ScenarioEngine = Pick<Engine, 'ask' | 'planFor' | 'recover' | 'tick' | 'watch'>;

/** Makes the engine of a host; observations count from `zeroMs` of its clock. */
export type EngineFactory = (
  host: Host,
  options: { readonly sink: ObservationSink; readonly zeroMs: number },
) => ScenarioEngine;

export interface RunOptions {
  readonly engineFor: EngineFactory;
  readonly commit: string;
  /** What was taken for every policy of the scenario, so that a replay can take it too: a name or an absolute path. */
  readonly policyOverride?: string | undefined;
  /** Takes the recording, line by line. */
  readonly record?: (line: string) => void;
  /** Takes each observation as it comes. */
  readonly observe?: ObservationSink;
  /** Ends the run early: everything is torn down, and the run rejects with Interrupted. */
  readonly signal?: AbortSignal;
}

/** What came of a run. */
export interface RunResult {
  readonly header: RunHeader;
  readonly observations: readonly Observation[];
  readonly kills: readonly Kill[];
  readonly verdicts: readonly Verdict[];
  /** Invariants that broke, in words. */
  readonly broken: readonly string[];
  /** Every expectation that applies held, and no invariant broke. */
  readonly held: boolean;
}

/** The run was ended before its time. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** Runs a scenario: asks of each host what it says, when it says so, and judges what was observed. */
export async function runScenario(
  scenario: Scenario,
  backend: ScenarioBackend,
  options: RunOptions,
): Promise<RunResult> {
  const header: RunHeader = {
    kind: 'run',
    version: 1,
    title: scenario.title,
    backend: backend.name,
    policy: policyLabel(scenario),
    ...(options.policyOverride !== undefined && { policyOverride: options.policyOverride }),
    seed: scenario.seed,
    commit: options.commit,
    ...(backend.name === 'sim' && { scenario: scenario.written }),
    hosts: scenario.hosts.map(({ name }) => name),
  };
  const observations: Observation[] = [];
  const observe: ObservationSink = (observation) => {
    observations.push(observation);
    options.record?.(recordingLine(observation));
    options.observe?.(observation);
  };
  options.record?.(recordingLine(header));
  await backend.drive(() => runOn(backend, scenario, { ...options, observe }));

  const policies = Object.fromEntries(scenario.hosts.map(({ name, memory }) => [name, memory.policy.name]));
  const verdicts = judge(scenario, observations, { backend: backend.name, policies });
  const broken = observations.flatMap((each) =>
    each.kind === 'note' && each.about === 'invariant' ? [each.message] : [],
  );
  return {
    header,
    observations,
    kills: killsOf(observations),
    verdicts,
    broken,
    held: broken.length === 0 && verdicts.every(({ held }) => held !== false),
  };
}

/** One line of a recording, its newline included. `src/traces` reads them. */
const recordingLine = (line: RunHeader | Observation): string => `${JSON.stringify(line)}\n`;

/** The policy of a run, in a word: those of its hosts, where they differ. */
const policyLabel = (scenario: Scenario): string =>
  [...new Set(policiesOf(scenario).map(({ name }) => name))].join('+');

async function runOn(
  backend: ScenarioBackend,
  scenario: Scenario,
  { engineFor, observe, signal }: RunOptions & { readonly observe: ObservationSink },
): Promise<void> {
  const { clock } = backend;
  const zeroMs = clock.monotonicMs();
  let open = true;
  const leases = new Leases();
  const hosts = scenario.hosts.map(({ name, memory, network, egress }) => {
    const sink: ObservationSink = (observation) => {
      leases.learn(observation);
      if (open) observe(scenario.hosts.length > 1 ? { host: name, ...observation } : observation);
    };
    const containers = scenario.containers.filter(({ host }) => host === name);
    return new HostRun(name, backend, {
      sink,
      zeroMs,
      engineFor,
      hasFaults: hasFaults(scenario),
      desired: {
        memory,
        ...(network !== undefined && { network }),
        ...(egress !== undefined && { egress }),
        containers: containers.filter(({ fromBeginning }) => fromBeginning).map(asked),
      },
      leases,
      file: scenario.file,
    });
  });
  const ofName = new Map(hosts.map((host) => [host.name, host]));
  const ofContainer = new Map(scenario.containers.map((container) => [container.name, container]));
  const hostOf = (container: string): HostRun | undefined => ofName.get(ofContainer.get(container)?.host ?? '');
  const bystander = (host: string): Bystander => backend.bystander(host);
  const attachmentsOf = (container: string) => hostOf(container)?.attachmentsOf(container) ?? [];
  const addressing = new Addressing(scenario, leases, attachmentsOf);
  const claims = claimsOf(scenario, backend.name);
  const prober = new Prober(scenario, claims.reach, { bystander, addressing, attachmentsOf });
  const meter = new Meter(scenario, claims.traffic, { bystander, addressing, clock });
  const cards = new CardWatch(claims.cards, bystander);
  const act = async ({ action, mayBeRefused }: TimelineEntry): Promise<void> => {
    const host = ('host' in action ? ofName.get(action.host) : hostOf(action.container))!;
    await host.act(action, ofContainer, mayBeRefused);
    tell(await cards.look(host.name));
  };
  const tell = (all: readonly { readonly host: string; readonly seen: Seen }[]): void => {
    const atMs = sinceMs(zeroMs, clock);
    for (const { host, seen } of all) ofName.get(host)!.tell({ ...seen, atMs });
  };

  try {
    for (const { name } of hosts) tell(await cards.look(name));
    await Promise.all(hosts.map((host) => host.begin()));
    // The timeline counts from here: on a real host its containers' first processes take their time to start.
    const beginMs = clock.monotonicMs();
    for (const { atMs, take } of inOrderOfTime([
      ...scenario.timeline.map((entry) => ({ atMs: entry.atMs, take: () => act(entry) })),
      ...distinct(cards.moments).map((atMs) => ({ atMs, take: async () => tell(await cards.lookAt(atMs)) })),
      ...prober.moments.map((atMs) => ({
        atMs,
        take: async () => tell((await prober.probe(atMs)).map(({ host, reached }) => ({ host, seen: reached }))),
      })),
      ...distinct(meter.moments).map((atMs) => ({ atMs, take: async () => tell(await meter.measure(atMs)) })),
    ])) {
      await until(clock, beginMs + atMs, signal);
      await take();
    }
    await until(clock, beginMs + scenario.endMs, signal);
    await Promise.all(hosts.map((host) => host.settle()));
    observe({ kind: 'end', atMs: sinceMs(zeroMs, clock) });
  } finally {
    for (const host of hosts) host.tellNotes();
    // What follows belongs to clearing up, not to the scenario.
    open = false;
    await Promise.all(hosts.map((host) => host.clear()));
  }
}

/** At one time the timeline comes first: probes see what it did. */
const inOrderOfTime = <T extends { readonly atMs: number }>(entries: readonly T[]): T[] =>
  entries.toSorted((a, b) => a.atMs - b.atMs);

/** Does anything go wrong in it that the hosts are to come through? */
const hasFaults = ({ faults, timeline }: Scenario): boolean =>
  faults.length > 0 ||
  timeline.some(
    ({ action }) =>
      action.kind === 'byHand' &&
      action.changes.some((change) => change.verb === 'mishap' && change.with.some(({ kind }) => kind !== 'qdisc')),
  );

/** What observers see; whoever takes it adds when. */
type Seen = Awaited<ReturnType<CardWatch['look'] | Meter['measure']>>[number]['seen'] | Reached;

const distinct = (moments: readonly number[]): number[] => [...new Set(moments)];

/** What expectations that apply to this backend ask to be tried. */
function claimsOf({ expectations }: Scenario, backend: BackendName) {
  const claims = expectations.flatMap(({ claim, backends }) => (backends.includes(backend) ? [claim] : []));
  const those = <K extends Claim['kind']>(...kinds: readonly K[]): Extract<Claim, { kind: K }>[] =>
    claims.filter((claim): claim is Extract<Claim, { kind: K }> => (kinds as readonly string[]).includes(claim.kind));
  return {
    reach: those('reaches', 'cannotReach'),
    traffic: those('classified', 'rate', 'packets'),
    cards: those('vf', 'vfsAsBefore', 'distinctVfs', 'foreignQdisc'),
  };
}

async function until(clock: Clock, atMs: number, signal: AbortSignal | undefined): Promise<void> {
  const delayMs = atMs - clock.monotonicMs();
  if (delayMs > 0) await clock.sleep(delayMs, signal);
  if (signal?.aborted === true) throw new Interrupted('the run was interrupted');
}
