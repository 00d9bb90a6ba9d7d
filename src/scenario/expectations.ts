import type { Observation } from '../engine/observation.ts';
import { formatBytes } from '../host/units.ts';
import { type Kill, killsOf } from './kills.ts';
import { judgeCards } from './cards.ts';
import { judgeReach } from './reach.ts';
import type { BackendName, Claim, Expectation, Scenario } from './scenario.ts';
import { judgeTraffic } from './traffic.ts';

/** What became of an expectation; `held` null: it does not apply to this run. */
export interface Verdict {
  readonly text: string;
  readonly held: boolean | null;
  /** What was seen. */
  readonly detail: string;
}

/** What an expectation is judged by: observations, and nothing else. */
interface Seen {
  readonly observations: readonly Observation[];
  readonly kills: readonly Kill[];
}

type Judgement = Omit<Verdict, 'text'>;

/** Judges every expectation of a scenario by what was observed. `policies` are those of the hosts, by name of host. */
export const judge = (
  { expectations }: Pick<Scenario, 'expectations'>,
  observations: readonly Observation[],
  run: { readonly backend: BackendName; readonly policies: Readonly<Record<string, string>> },
): Verdict[] =>
  expectations.map((expectation) => {
    const elsewhere = whyNot(expectation, run);
    if (elsewhere !== undefined) return { text: expectation.text, held: null, detail: elsewhere };
    const own =
      expectation.host === undefined
        ? observations
        : observations.filter(({ host }) => host === undefined || host === expectation.host);
    return { text: expectation.text, ...judgeClaim(expectation.claim, { observations: own, kills: killsOf(own) }) };
  });

function whyNot(
  { backends, policies, host }: Expectation,
  run: { readonly backend: BackendName; readonly policies: Readonly<Record<string, string>> },
): string | undefined {
  if (!backends.includes(run.backend)) return `only on ${backends.join(', ')}`;
  const used = host === undefined ? Object.values(run.policies) : [run.policies[host]!];
  if (policies !== undefined && !used.every((policy) => policies.includes(policy)))
    return `only under ${policies.join(', ')}`;
  return undefined;
}

function judgeClaim(claim: Claim, seen: Seen): Judgement {
  switch (claim.kind) {
    case 'killed':
      return { held: sameList(killed(seen), claim.containers), detail: `killed: ${listed(killed(seen))}` };
    case 'notKilled': {
      const wrong = claim.containers.filter((name) => killed(seen).includes(name));
      return {
        held: wrong.length === 0,
        detail: wrong.length === 0 ? `killed: ${listed(killed(seen))}` : `killed were ${listed(wrong)}`,
      };
    }
    case 'noKills':
      return { held: seen.kills.length === 0, detail: `killed: ${listed(killed(seen))}` };
    case 'kills': {
      const count = seen.kills.length;
      return {
        held: count >= (claim.atLeast ?? 0) && count <= (claim.atMost ?? count),
        detail: `${count} killed: ${listed(killed(seen))}`,
      };
    }
    case 'killedBy':
      return judgeCause(claim, seen);
    case 'wouldKill': {
      const names = seen.observations.flatMap((each) =>
        each.kind === 'decision' && each.outcome === 'dry' ? [each.container] : [],
      );
      return { held: sameList(names, claim.containers), detail: `would have killed: ${listed(names)}` };
    }
    case 'livesToTheEnd':
      return judgeLives(claim.containers, seen);
    case 'livesOverRequest':
      return judgeOverRequest(claim.containers, seen);
    case 'totalAtMost':
      return judgeTotal(claim.limit, seen);
    case 'killsWithinLooks':
      return judgeLooks(claim.looks, seen);
    case 'passedOver': {
      const names = seen.observations.flatMap((each) => (each.kind === 'passedOver' ? [each.container] : []));
      const missing = claim.containers.filter((name) => !names.includes(name));
      return { held: missing.length === 0, detail: `passed over: ${listed(names)}` };
    }
    case 'reason': {
      const reasons = seen.kills.filter(({ container }) => container === claim.container).map(({ reason }) => reason);
      return {
        held: reasons.some((reason) => reason.includes(claim.contains)),
        detail: reasons.length === 0 ? `${claim.container} was not killed` : reasons.join('; '),
      };
    }
    case 'refused': {
      const messages = seen.observations.flatMap((each) =>
        each.kind === 'refusal' && (claim.container ?? each.container) === each.container ? [each.message] : [],
      );
      return judgeText(claim.contains, messages, 'nothing was refused');
    }
    case 'told': {
      const messages = seen.observations.flatMap((each) =>
        each.kind === 'note' && each.about === 'trouble' ? [each.message] : [],
      );
      return judgeText(claim.contains, messages, 'no trouble was told');
    }
    case 'reaches':
    case 'cannotReach':
      return judgeReach(claim, seen.observations);
    case 'classified':
    case 'rate':
    case 'packets':
      return judgeTraffic(claim, seen.observations);
    case 'vf':
    case 'vfsAsBefore':
    case 'distinctVfs':
    case 'foreignQdisc':
      return judgeCards(claim, seen.observations);
  }
}

const judgeText = (wanted: string, messages: readonly string[], nothing: string): Judgement => ({
  held: messages.some((message) => message.includes(wanted)),
  detail: messages.length === 0 ? nothing : messages.join('; '),
});

function judgeCause(
  { container, cause }: Extract<Claim, { kind: 'killedBy' }>,
  { observations, kills }: Seen,
): Judgement {
  const deaths = observations.flatMap((each) =>
    each.kind === 'death' && each.container === container ? [each.cause] : [],
  );
  const kill = kills.find((each) => each.container === container);
  // A victim that has been signalled may not be gone when the scenario ends: the kill itself tells its cause.
  const seen = deaths.length > 0 ? deaths : kill === undefined ? [] : [kill.cause];
  const how = seen.map((each) => CAUSE[each]).join(', then ');
  return {
    held: (seen as string[]).includes(cause),
    detail: seen.length === 0 ? `${container} did not die` : `${container} died: ${how}`,
  };
}

const CAUSE = {
  supervisor: 'killed by Plimsoll',
  kernel: 'killed by the kernel',
  exit: 'by itself',
  stopped: 'it was stopped',
};

function judgeLives(containers: readonly string[], { observations, kills }: Seen): Judgement {
  const dead = new Map<string, string>(kills.map(({ container, cause }) => [container, CAUSE[cause]]));
  const started = new Set<string>();
  for (const each of observations) {
    if (each.kind === 'death' && !dead.has(each.container)) dead.set(each.container, CAUSE[each.cause]);
    if (each.kind === 'start') started.add(each.container);
  }
  const wrong = containers.flatMap((name) =>
    started.has(name) ? (dead.has(name) ? [`${name} died: ${dead.get(name)}`] : []) : [`${name} never ran`],
  );
  return {
    held: wrong.length === 0,
    detail: wrong.length === 0 ? `alive at the end: ${containers.join(', ')}` : wrong.join('; '),
  };
}

function judgeOverRequest(containers: readonly string[], { observations }: Seen): Judgement {
  const requests = new Map<string, number>();
  const shown = new Map<string, string>();
  const hardLimits = new Map<string | undefined, number>();
  for (const each of observations) {
    if (each.kind === 'line') hardLimits.set(each.host, each.hardLimitBytes);
    if (each.kind === 'start' || each.kind === 'request') requests.set(each.container, each.requestBytes);
    if (each.kind !== 'sample' || each.totalBytes > (hardLimits.get(each.host) ?? Number.POSITIVE_INFINITY)) continue;
    for (const [name, usedBytes] of Object.entries(each.workingSetBytes)) {
      const overBytes = usedBytes - (requests.get(name) ?? Number.POSITIVE_INFINITY);
      if (overBytes > 0)
        shown.set(
          name,
          `${name} by ${formatBytes(overBytes)} at ${seconds(each.atMs)}, total ${formatBytes(each.totalBytes)}`,
        );
    }
  }
  const missing = containers.filter((name) => !shown.has(name));
  return missing.length === 0
    ? { held: true, detail: `over its request and alive: ${containers.map((name) => shown.get(name)).join('; ')}` }
    : {
        held: false,
        detail: `no sample with the total at or under the hard limit shows ${missing.join(', ')} over its request`,
      };
}

function judgeTotal(limit: Extract<Claim, { kind: 'totalAtMost' }>['limit'], { observations }: Seen): Judgement {
  let highest = { atMs: 0, totalBytes: 0, limitBytes: Number.POSITIVE_INFINITY };
  const hardLimits = new Map<string | undefined, number>();
  let worst = Number.NEGATIVE_INFINITY;
  for (const each of observations) {
    if (each.kind === 'line') hardLimits.set(each.host, each.hardLimitBytes);
    if (each.kind !== 'sample' && each.kind !== 'look') continue;
    const limitBytes =
      'bytes' in limit ? limit.bytes : limit.ofHardLimit * (hardLimits.get(each.host) ?? Number.POSITIVE_INFINITY);
    if (each.totalBytes - limitBytes <= worst) continue;
    worst = each.totalBytes - limitBytes;
    highest = { atMs: each.atMs, totalBytes: each.totalBytes, limitBytes };
  }
  if (worst === Number.NEGATIVE_INFINITY) return { held: false, detail: 'the total was never seen' };
  return {
    held: worst <= 0,
    detail: `highest: ${formatBytes(highest.totalBytes)} at ${seconds(highest.atMs)}, allowed ${formatBytes(highest.limitBytes)}`,
  };
}

/** Counts, for each kill, the looks past the line since the last look that was not, or the last kill. */
function judgeLooks(most: number, { observations }: Seen): Judgement {
  const killAt = new Map<string | undefined, number>();
  const looks = new Map<string | undefined, number>();
  const counts: string[] = [];
  let held = true;
  for (const each of observations) {
    if (each.kind === 'line') killAt.set(each.host, each.killAtBytes);
    else if (each.kind === 'look') {
      const past = each.totalBytes > (killAt.get(each.host) ?? Number.POSITIVE_INFINITY);
      looks.set(each.host, past ? (looks.get(each.host) ?? 0) + 1 : 0);
    } else if (each.kind === 'decision' && each.outcome !== 'failed') {
      const count = looks.get(each.host) ?? 0;
      // Further victims of one look count as of that look.
      looks.set(each.host, 0);
      counts.push(`${each.container} at look ${Math.max(1, count)}`);
      held &&= count <= most;
    }
  }
  return counts.length === 0 ? { held: false, detail: 'nobody was killed' } : { held, detail: counts.join(', ') };
}

const killed = ({ kills }: Seen): string[] => kills.map(({ container }) => container);

const listed = (names: readonly string[]): string => (names.length === 0 ? 'nobody' : names.join(', '));

const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((each, index) => each === b[index]);

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
