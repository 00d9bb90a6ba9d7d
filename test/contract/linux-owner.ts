// A run to be killed: opens a host, starts containers of every kind under a supervisor, says its mark, and stays.
import { openTestHost } from './linux-host.ts';
import { assertApplied, constant, inPen, mib, ms } from './contract.ts';
import { makeLinks, makeNamespaces, veth } from './network.ts';
import { runMark } from '../../backends/linux/owner.ts';
import type { SupervisorSettings } from '../../src/host/supervision.ts';
import type { Workload } from '../../src/host/workload.ts';

const host = await openTestHost('owned');
const workloads: Record<string, Workload> = {
  quiet: constant(8),
  grows: { memory: { kind: 'ramp', from: mib(8), to: mib(120), startMs: ms(1500), overMs: ms(1000) }, processes: 2 },
  sharing: { ...constant(8), shared: true },
  cached: { ...constant(4), cache: { bytes: mib(8), bytesPerSecond: mib(80) } },
};
const specs = Object.entries(workloads).map(([name, workload]) => ({
  ...inPen(name, workload),
  ...(name === 'quiet' ? { namespace: 'web' } : {}),
}));
await makeNamespaces({ host, settle: (work) => work() }, ['web', 'idle']);
await makeLinks({ host, settle: (work) => work() }, [veth('v0', 'web'), veth('v1', 'idle')]);
const paths = ['pen', ...specs.map(({ cgroup }) => cgroup)].map((path) => ({ path }));
assertApplied(await host.cgroups.create(paths), paths.length);
const settings: SupervisorSettings = {
  parent: 'pen',
  policy: { name: 'gaia' },
  line: {
    hardLimitBytes: mib(96),
    killAtBytes: mib(100),
    stopAtBytes: mib(96),
    ceilingBytes: mib(400),
    lookEveryMs: ms(10),
  },
  dry: false,
  containers: specs.map(({ name, cgroup }) => ({ name, cgroup, requestBytes: mib(16), priority: 0 })),
};
assertApplied(await host.supervision.supervise([settings]), 1);
assertApplied(await host.containers.start(specs), specs.length);
process.stdout.write(`${JSON.stringify({ mark: runMark('owned') })}\n`);
setInterval(() => {}, 60_000);
