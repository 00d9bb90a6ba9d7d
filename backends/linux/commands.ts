import type { Step } from '../../src/host/steps.ts';
import type { CgroupLayout } from './cgroup-layout.ts';
import { isNetworkStep, networkCommandOf } from './network-commands.ts';
import { quote } from './quote.ts';
import { foldersOf } from './runs.ts';
import { functionCommandOf, isFunctionStep } from './vf-commands.ts';
import { isShaperStep, shaperCommandOf } from './shaper-commands.ts';

/** What the commands are written for. */
export interface CommandPlace {
  readonly layout: CgroupLayout;
  /** The host's root, under the mounts. */
  readonly root: string;
  readonly entries: { readonly workload: string; readonly supervisor: string };
}

/** The layout to show where this machine has none: version 2, where most systems mount it. */
export const USUAL_LAYOUT: CgroupLayout = { version: 2, mount: '/sys/fs/cgroup' };

/** The commands that do on a shell, as root, what a step does: what `--dry-run` prints. */
export function commandOf(step: Step, place: CommandPlace): string[] {
  if (isNetworkStep(step)) return networkCommandOf(step);
  if (isFunctionStep(step)) return functionCommandOf(step);
  if (isShaperStep(step)) return shaperCommandOf(step);
  switch (step.verb) {
    case 'cgroups.create':
      return create(step.with.path, place);
    case 'cgroups.limit':
      return [limit(step.with.path, step.with.limitBytes, place)];
    case 'cgroups.remove':
      return [`rmdir ${foldersFor(step.with, place).map(quote).join(' ')}`];
    case 'containers.start':
      return start(step.with, place);
    case 'containers.stop':
      return [stop(step.with, place)];
    case 'supervision.supervise':
      return supervise(step.with, place);
    case 'supervision.release':
      return [`rm -f ${quote(`${mailboxOf(step.with, place)}/order.json`)}`];
  }
}

function foldersFor(path: string, { layout, root }: CommandPlace): string[] {
  const mounts = layout.version === 1 ? [layout.memoryMount, layout.freezerMount] : [layout.mount];
  return mounts.map((mount) => `${mount}/${root}/${path}`);
}

function create(path: string, place: CommandPlace): string[] {
  const folders = foldersFor(path, place);
  const make = `mkdir -p ${folders.map(quote).join(' ')}`;
  if (place.layout.version === 1) return [make];
  const parent = folders[0]!.slice(0, folders[0]!.lastIndexOf('/'));
  return [`mkdir -p ${quote(parent)}`, `echo +memory > ${quote(`${parent}/cgroup.subtree_control`)}`, make];
}

function limit(path: string, limitBytes: number | null, place: CommandPlace): string {
  const folder = foldersFor(path, place)[0]!;
  return place.layout.version === 1
    ? `echo ${limitBytes ?? -1} > ${quote(`${folder}/memory.limit_in_bytes`)}`
    : `echo ${limitBytes ?? 'max'} > ${quote(`${folder}/memory.max`)}`;
}

function start(spec: Extract<Step, { verb: 'containers.start' }>['with'], place: CommandPlace): string[] {
  const { shared, cache } = foldersOf(place.root);
  const inside = spec.namespace === undefined ? '' : `ip netns exec ${quote(spec.namespace)} `;
  return Array.from({ length: spec.workload.processes ?? 1 }, (_, index) => {
    const order = {
      place: { root: place.root },
      cgroup: spec.cgroup,
      workload: spec.workload,
      index,
      sharedFile: `${shared}/${spec.name}.${index}`,
      cacheFile: `${cache}/${spec.name}`,
    };
    const folders = [...(spec.workload.shared ? [shared] : []), ...(spec.workload.cache ? [cache] : [])];
    const make = folders.length === 0 ? '' : `mkdir -p -m 700 ${folders.map(quote).join(' ')} && `;
    return `${make}${inside}setsid node ${quote(place.entries.workload)} ${quote(JSON.stringify(order))} &`;
  });
}

function stop(name: string, { layout, root }: CommandPlace): string {
  const forEach = (mount: string, script: string): string =>
    `find ${quote(`${mount}/${root}`)} -mindepth 2 -type d -name ${quote(name)} -exec sh -c ${quote(script)} {} ';'`;
  return layout.version === 2
    ? forEach(layout.mount, 'echo 1 > "$0/cgroup.kill"')
    : forEach(
        layout.freezerMount,
        // Frozen, nobody forks; and SIGKILL acts when they thaw.
        'echo FROZEN > "$0/freezer.state"; until grep -q FROZEN "$0/freezer.state"; do sleep 0.01; done; xargs -r kill -9 < "$0/cgroup.procs"; echo THAWED > "$0/freezer.state"',
      );
}

const mailboxOf = (parent: string, { root }: CommandPlace): string =>
  `${foldersOf(root).supervisors}/${encodeURIComponent(parent)}`;

function supervise(settings: Extract<Step, { verb: 'supervision.supervise' }>['with'], place: CommandPlace): string[] {
  const folder = mailboxOf(settings.parent, place);
  const order = quote(`${folder}/order.json`);
  const argument = quote(JSON.stringify({ folder, place: { root: place.root } }));
  return [
    `mkdir -p ${quote(folder)}`,
    `echo ${quote(JSON.stringify({ revision: 'by-hand', settings }))} > ${order}.new && mv ${order}.new ${order}`,
    // A second one for the same folder would take the place of the first.
    `pgrep -f ${quote(folder)} > /dev/null || setsid node ${quote(place.entries.supervisor)} ${argument} &`,
  ];
}
