import type { Simulation } from '../../backends/sim/simulation.ts';
import type { CgroupPath, Cgroups } from '../../src/host/cgroups.ts';
import type { MemoryLine, SupervisorFactory, SupervisorSettings } from '../../src/host/supervision.ts';
import { HOST } from './memory-run.ts';

/** As the rule says: what a signalled victim still holds is left out this long. */
const GRACE_MS = 1000;

interface Row {
  readonly name: string;
  readonly overBytes: number;
  readonly workingSetBytes: number;
  readonly signalled: boolean;
}

/** What the rule forbade and happened, and what the run met. */
export interface Verdict {
  readonly violations: string[];
  readonly met: string[];
}

/**
 * The memory rule told a second time, in the plainest words, over what the machine really holds at each kill and at the
 * end of each look: the supervisor is measured against it, never asked.
 */
export function oracle(
  verdict: Verdict,
): (factory: SupervisorFactory, simulation: () => Simulation) => SupervisorFactory {
  return (factory, simulation) => (cgroups, settings, emit) => {
    const signalledAtMs = new Map<string, number>();
    let now: SupervisorSettings = settings;
    let killsInLook = 0;
    const truth = (): { rows: Row[]; totalBytes: number } =>
      look(simulation().host(HOST).cgroups, now, signalledAtMs, simulation().nowMs());

    const spied: Pick<Cgroups, 'open' | 'kill'> = {
      open: (path) => cgroups.open(path),
      kill(path) {
        const { rows, totalBytes } = truth();
        judgeKill(path.slice(path.lastIndexOf('/') + 1), rows, totalBytes, now.line, killsInLook, verdict);
        cgroups.kill(path);
        signalledAtMs.set(path, simulation().nowMs());
        killsInLook++;
      },
    };
    const inner = factory(spied, settings, (event) => {
      if (event.kind === 'passedOver') verdict.met.push('passed over');
      emit(event);
    });
    return {
      look(nowMs) {
        killsInLook = 0;
        const before = truth();
        const next = inner.look(nowMs);
        if (!now.dry) judgeLook(before, truth(), now.line, killsInLook, verdict);
        return next;
      },
      configure(next) {
        if (next.line.killAtBytes < now.line.killAtBytes) verdict.met.push('a lowered line');
        if (now.dry && !next.dry) verdict.met.push('dry, then live');
        now = next;
        inner.configure(next);
      },
      close: () => inner.close(),
    };
  };
}

function judgeKill(
  name: string,
  rows: readonly Row[],
  totalBytes: number,
  line: MemoryLine,
  killsInLook: number,
  { violations, met }: Verdict,
): void {
  const victim = rows.find((row) => row.name === name);
  if (victim === undefined) {
    violations.push(`${name} was killed and is not there`);
    return;
  }
  met.push('a kill', ...(killsInLook > 0 ? ['several kills in one look'] : []));
  const lineBytes = killsInLook > 0 ? line.stopAtBytes : line.killAtBytes;
  if (totalBytes <= lineBytes)
    violations.push(`${name} was killed at a total of ${totalBytes}, which is not past ${lineBytes}`);
  if (
    line.killAtBytes >= line.hardLimitBytes &&
    line.stopAtBytes >= line.hardLimitBytes &&
    totalBytes <= line.hardLimitBytes
  ) {
    violations.push(`${name} was killed under the hard limit`);
  }
  if (victim.overBytes <= 0) violations.push(`${name} was killed within its request`);
  if (victim.signalled) violations.push(`${name} was killed twice`);
  for (const other of rows) {
    if (other === victim || other.signalled) continue;
    if (other.overBytes === victim.overBytes) met.push('a tie');
    const first =
      other.overBytes > victim.overBytes ||
      (other.overBytes === victim.overBytes &&
        (other.workingSetBytes > victim.workingSetBytes ||
          (other.workingSetBytes === victim.workingSetBytes && other.name < name)));
    if (first && other.overBytes > 0) violations.push(`${name} was killed before ${other.name}`);
  }
}

function judgeLook(before: Truth, after: Truth, line: MemoryLine, kills: number, { violations, met }: Verdict): void {
  if (before.totalBytes > line.hardLimitBytes && before.totalBytes <= line.killAtBytes)
    met.push('over the hard limit, not past killAt');
  if (before.totalBytes <= line.killAtBytes) return;
  const left = after.rows.filter((row) => row.overBytes > 0 && !row.signalled);
  if (kills === 0 && before.rows.some((row) => row.overBytes > 0 && !row.signalled))
    violations.push('past killAt nobody was killed');
  if (left.length > 0 && after.totalBytes > line.stopAtBytes)
    violations.push(`killing stopped at ${after.totalBytes}, above stopAt ${line.stopAtBytes}`);
  if (left.length === 0 && after.totalBytes > line.killAtBytes) met.push('past killAt with nobody to kill');
}

type Truth = ReturnType<typeof look>;

function look(
  cgroups: Cgroups,
  settings: SupervisorSettings,
  signalledAtMs: ReadonlyMap<CgroupPath, number>,
  nowMs: number,
): { rows: Row[]; totalBytes: number } {
  let heldBytes = 0;
  const rows: Row[] = [];
  for (const { name, cgroup, requestBytes } of settings.containers) {
    const workingSetBytes = workingSet(cgroups, cgroup);
    const signalled = signalledAtMs.get(cgroup);
    if (workingSetBytes === undefined || workingSetBytes === 0) continue;
    if (signalled !== undefined && nowMs - signalled < GRACE_MS) heldBytes += workingSetBytes;
    rows.push({ name, workingSetBytes, overBytes: workingSetBytes - requestBytes, signalled: signalled !== undefined });
  }
  return { rows, totalBytes: (workingSet(cgroups, settings.parent) ?? 0) - heldBytes };
}

function workingSet(cgroups: Cgroups, path: CgroupPath): number | undefined {
  try {
    const reader = cgroups.open(path);
    const stat = reader.readStat({ anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 });
    return Math.max(0, reader.usageBytes() - stat.inactiveFileBytes);
  } catch {
    return undefined;
  }
}
