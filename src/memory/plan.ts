import type { CgroupPath, CgroupState } from '../host/cgroups.ts';
import type { Host } from '../host/host.ts';
import { samePlainData } from '../host/same.ts';
import type { PhasedPlan, Stage, Step } from '../host/steps.ts';
import type { SupervisorSettings } from '../host/supervision.ts';
import { type Bytes, formatBytes } from '../host/units.ts';
import type { MemoryDesired, MemoryRequest } from './desired.ts';
import type { MemoryPolicy } from './policy.ts';

/** The cgroup of all containers: it carries the ceiling, and the supervisor looks at it. */
export const PARENT: CgroupPath = 'containers';

/** The cgroup of one container. */
export const containerCgroup = (name: string): CgroupPath => `${PARENT}/${name}`;

/** What memory finds on a host. */
export interface MemoryObserved {
  readonly cgroups: ReadonlyMap<CgroupPath, CgroupState>;
  readonly supervised: readonly SupervisorSettings[];
}

/** Reads back what memory has made on this host. */
export async function observeMemory(host: Host): Promise<MemoryObserved> {
  const cgroups = new Map((await host.cgroups.list()).map((state) => [state.path, state]));
  return { cgroups, supervised: await host.supervision.list() };
}

/** What the supervisor of this machine must know. */
export const supervisorSettings = (memory: MemoryDesired, requests: readonly MemoryRequest[]): SupervisorSettings => ({
  parent: PARENT,
  policy: memory.policy,
  line: memory.line,
  dry: memory.dry,
  containers: requests.map(({ name, requestBytes, priority }) => ({
    name,
    cgroup: containerCgroup(name),
    requestBytes,
    priority,
  })),
});

/**
 * From what is to what is asked: the parent with its ceiling and its supervisor first, then the containers' own
 * cgroups; what nobody asks for any more goes. `memory` null asks for nothing at all. A ceiling is raised before the
 * supervisor's line and lowered after it, so that the kernel never acts where the supervisor was to.
 */
export function planMemory(
  memory: MemoryDesired | null,
  policy: MemoryPolicy | null,
  requests: readonly MemoryRequest[],
  { cgroups, supervised }: MemoryObserved,
): PhasedPlan {
  const wanted = new Set(memory === null ? [] : requests.map(({ name }) => containerCgroup(name)));
  const leaving = [...cgroups.keys()].filter((path) => path !== PARENT && !wanted.has(path)).toReversed();
  // Children before their parents, each depth a stage, so that steps of one stage stay independent.
  const removals: Stage[] = byDepth(leaving).map((paths) =>
    paths.map((path): Step => ({ verb: 'cgroups.remove', with: path, why: 'nobody asks for it' })),
  );
  if (memory === null || policy === null) {
    return {
      detach: [
        ...removals,
        supervised.map(({ parent }): Step => ({
          verb: 'supervision.release',
          with: parent,
          why: 'no container is left to look at',
        })),
        cgroups.has(PARENT) ? [{ verb: 'cgroups.remove', with: PARENT, why: 'nobody asks for it' }] : [],
      ],
    };
  }

  const limits = policy.limits(
    requests.map(({ requestBytes }) => requestBytes),
    memory.line,
  );
  const settings = supervisorSettings(memory, requests);
  const ceiling = limitSteps(
    PARENT,
    limits.parentBytes,
    cgroups,
    'the ceiling: the kernel acts here if the supervisor does not',
  );
  const supervise = superviseSteps(settings, supervised);
  const ceilingBytes = cgroups.get(PARENT)?.limitBytes ?? null;
  const lowers = ceilingBytes !== null && limits.parentBytes !== null && limits.parentBytes < ceilingBytes;
  return {
    detach: removals,
    machine: [
      cgroups.has(PARENT)
        ? []
        : [{ verb: 'cgroups.create', with: { path: PARENT }, why: 'all containers share one hard limit' }],
      ...(lowers ? [supervise, ceiling] : [ceiling, supervise]),
    ],
    attach: [
      requests
        .filter(({ name }) => !cgroups.has(containerCgroup(name)))
        .map(({ name, requestBytes }): Step => ({
          verb: 'cgroups.create',
          with: { path: containerCgroup(name) },
          why: `asks for ${formatBytes(requestBytes)}`,
        })),
      requests.flatMap(({ name }, index) =>
        limitSteps(containerCgroup(name), limits.childBytes[index] ?? null, cgroups, `policy ${memory.policy.name}`),
      ),
    ],
  };
}

/** One supervisor, of our parent, by these settings. */
function superviseSteps(settings: SupervisorSettings, supervised: readonly SupervisorSettings[]): Step[] {
  const strangers = supervised.filter(({ parent }) => parent !== PARENT);
  const same = strangers.length === 0 && supervised.some((one) => samePlainData(one, settings));
  return [
    ...strangers.map(({ parent }): Step => ({
      verb: 'supervision.release',
      with: parent,
      why: 'it looks at no parent of ours',
    })),
    ...(same
      ? []
      : [
          {
            verb: 'supervision.supervise',
            with: settings,
            why: `policy ${settings.policy.name}, ${settings.containers.length} containers`,
          } satisfies Step,
        ]),
  ];
}

const PAGE_BYTES = 4096;

function limitSteps(
  path: CgroupPath,
  wantedBytes: number | null,
  cgroups: ReadonlyMap<CgroupPath, CgroupState>,
  why: string,
): Step[] {
  const limitBytes = wantedBytes === null ? null : Math.floor(wantedBytes / PAGE_BYTES) * PAGE_BYTES;
  const isBytes = cgroups.get(path)?.limitBytes ?? null;
  return isBytes === limitBytes
    ? []
    : [{ verb: 'cgroups.limit', with: { path, limitBytes: limitBytes as Bytes | null }, why }];
}

function byDepth(paths: readonly CgroupPath[]): CgroupPath[][] {
  const stages = new Map<number, CgroupPath[]>();
  for (const path of paths) {
    const depth = path.split('/').length;
    stages.set(depth, [...(stages.get(depth) ?? []), path]);
  }
  return [...stages].toSorted(([a], [b]) => b - a).map(([, stage]) => stage);
}
