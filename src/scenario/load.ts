import type { z } from 'zod';
import { Checking, own } from './checking.ts';
import { containersOf, isOfHost, isReach, type ClaimWritten } from './claims.ts';
import { type Problem, ScenarioError } from './errors.ts';
import { egressDesiredOf } from './egress-fields.ts';
import { checkRequest, isPolicyOfOwn, memoryOf, memoryWrittenOf, ramBytesOf } from './load-memory.ts';
import { hostNetworkOf, type Networks, networksOf } from './load-networks.ts';
import { hostClaimOf } from './load-host-claims.ts';
import { reachOf } from './load-reach.ts';
import { endMsOf, timelineOf } from './load-timeline.ts';
import { hint } from './nearest.ts';
import {
  BACKENDS,
  type Claim,
  type Expectation,
  type Rules,
  type Scenario,
  type ScenarioContainer,
  type ScenarioFault,
  type ScenarioHost,
  type ScenarioNic,
} from './scenario.ts';
import { inWords, scenarioSchema } from './schema.ts';
import { type Path, type Source, sourceOfData, sourceOfYaml } from './source.ts';

/** Of a machine that nobody described. */
const DEFAULT_CPUS = 4;

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
  const checking = new Checking(result.data, source, rules);
  const scenario = scenarioFrom(checking);
  if (checking.problems.length > 0) throw new ScenarioError(source.file, ordered(checking.problems));
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

function scenarioFrom(checking: Checking): Scenario {
  const { written, source, hostNames, containerNames } = checking;
  if (hostNames.length === 0) checking.problem(['hosts'], 'it is empty: leave it out for one host, or name one');
  if (containerNames.length === 0) checking.problem(['containers'], 'it is empty: there is nothing to run');
  const networks = networksOf(checking);
  const hosts = hostNames.map((name) => hostOf(checking, name, networks));
  const containers = containersFrom(checking);
  const endMs = endMsOf(checking);
  return {
    file: source.file,
    title: written.title,
    why: written.why,
    seed: written.seed,
    backends: written.backends ?? BACKENDS,
    hosts,
    containers,
    timeline: timelineOf(checking, hosts, containers),
    endMs,
    faults: faultsOf(checking),
    expectations: expectationsOf(checking, { hosts, containers, endMs }),
    written: source.data,
  };
}

function hostOf(checking: Checking, name: string, networks: Networks | undefined): ScenarioHost {
  const written = own(checking.written.hosts, name) ?? {};
  const ramBytes = ramBytesOf(checking, name);
  const places = [['hosts', name, 'memory'], ['memory'], ['hosts', name]];
  return {
    name,
    ramBytes,
    cpus: written.cpus ?? DEFAULT_CPUS,
    ...(written.cgroup !== undefined && { cgroupVersion: written.cgroup }),
    memory: memoryOf(checking, memoryWrittenOf(checking, name), ramBytes, places),
    ...hostNetworkOf(name, networks),
    ...egressOf(checking, name),
    nics: nicsOf(checking, name),
  };
}

/** Its own settings over those of all. */
function egressOf({ written }: Checking, name: string): Pick<ScenarioHost, 'egress'> {
  const egress = { ...written.egress, ...own(written.hosts, name)?.egress };
  return Object.keys(egress).length === 0 ? {} : { egress: egressDesiredOf(egress) };
}

const nicsOf = ({ written }: Checking, name: string): ScenarioNic[] =>
  Object.entries(own(written.hosts, name)?.nics ?? {}).map(([link, { driver, totalVfs, speed }]) => ({
    link,
    ...(driver !== undefined && { driver }),
    ...(totalVfs !== undefined && { totalVfs }),
    ...(speed !== undefined && { speedBitsPerSec: speed }),
  }));

function containersFrom(checking: Checking): ScenarioContainer[] {
  const { timeline, containers } = checking.written;
  const started = new Set(timeline.map(({ do: what }) => (what === 'end' ? undefined : what.start)));
  return Object.entries(containers).map(([name, written]): ScenarioContainer => {
    const path = ['containers', name];
    const host = checking.hostOf(written.host, [...path, 'host']);
    checkRequest(checking, written.request, host, [...path, 'request']);
    for (const [index, { network }] of (written.networks ?? []).entries())
      checking.isNetwork(network, [...path, 'networks', index]);
    return {
      name,
      host,
      requestBytes: written.request,
      priority: written.priority ?? 0,
      workload: written.workload,
      ...(written.networks !== undefined && { attachments: written.networks }),
      ...(written.egress !== undefined && { egress: written.egress }),
      fromBeginning: !started.has(name),
    };
  });
}

function faultsOf(checking: Checking): ScenarioFault[] {
  const { faults = [], backends } = checking.written;
  if (faults.length > 0 && backends?.includes('linux') === true)
    checking.problem(
      ['backends'],
      'only a simulated host can have faults: write backends: [sim], or leave the faults out',
    );
  for (const [index, fault] of faults.entries()) {
    if (fault.host !== undefined) checking.hostOf(fault.host, ['faults', index, 'host']);
    try {
      checking.rules.checkFault(fault);
    } catch (error) {
      checking.problem(['faults', index, 'on'], error instanceof Error ? error.message : String(error));
    }
  }
  return faults;
}

function expectationsOf(checking: Checking, scenario: Pick<Scenario, 'hosts' | 'containers' | 'endMs'>): Expectation[] {
  const { policies: shipped } = checking.rules;
  return (checking.written.expectations ?? []).map(
    ({ text, that: { claim, host }, backends, policies }, index): Expectation => {
      const path = ['expectations', index];
      if (!isReach(claim) && !isOfHost(claim))
        for (const name of containersOf(claim)) checking.isContainer(name, [...path, 'that']);
      if (host !== undefined) checking.hostOf(host, [...path, 'that', 'host']);
      for (const [at, policy] of (policies ?? []).entries()) {
        if (!shipped.includes(policy) && !isPolicyOfOwn(checking, policy))
          checking.problem([...path, 'policies', at], `there is no policy "${policy}": ${hint(policy, shipped)}`);
      }
      return {
        text,
        claim: claimOf(checking, claim, scenario, [...path, 'that', claim.kind]),
        ...(host !== undefined && { host }),
        backends: backends ?? BACKENDS,
        ...(policies !== undefined && { policies }),
      };
    },
  );
}

/** With its names looked up; where one was not found, any claim stands in for it: the scenario is thrown away. */
function claimOf(
  checking: Checking,
  written: ClaimWritten,
  scenario: Pick<Scenario, 'hosts' | 'containers' | 'endMs'>,
  path: Path,
): Claim {
  if (isReach(written)) return reachOf(checking, written, scenario, path);
  if (!isOfHost(written)) return written;
  return hostClaimOf(checking, written, scenario, path) ?? { kind: 'noKills' };
}
