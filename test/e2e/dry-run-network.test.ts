import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { openSim } from '../../src/commands/backend/sim.ts';
import { printPlan } from '../../src/commands/dry-run.ts';
import { rulesFor } from '../../src/commands/run.ts';
import { policyByName } from '../../src/memory/policies.ts';
import { isOurs } from '../../src/network/names.ts';
import { type NetworkObserved, observeNetwork } from '../../src/network/observe.ts';
import { asked } from '../../src/scenario/host-run.ts';
import { readScenario } from '../../src/scenario/load.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';

const policies = ({ name }: { name: string }) => policyByName(name)!;

/** What the engine makes of the beginning of a scenario on a simulated host. */
async function made(scenario: Scenario, name: string): Promise<NetworkObserved> {
  const { backend, engineFor } = openSim(scenario, policies);
  return backend.drive(async () => {
    const engines = [];
    for (const host of scenario.hosts) {
      const engine = engineFor(await backend.connect(host.name), { sink: () => undefined, zeroMs: 0 });
      const containers = scenario.containers.filter((each) => each.host === host.name && each.fromBeginning).map(asked);
      await engine.ask({ memory: host.memory, network: host.network!, containers });
      engines.push(engine);
    }
    // Each has learned by now who came after it.
    for (const engine of engines) await engine.recover();
    return observeNetwork(await backend.connect(name));
  });
}

/** The steps for networks of one host's part of the script. */
const networkPart = (script: string, name: string): string =>
  script
    .split(/^# ---- host /m)
    .find((part) => part.startsWith(`${name},`))!
    .split('\n')
    .filter((line) => !/cgroup|supervisors|setsid/.test(line))
    .map((line) => (line.startsWith(`${name},`) ? '' : line))
    .join('\n');

/** Runs it where nothing is but the uplink, in mount and network namespaces that end with it. */
async function byHand(scenario: Scenario, name: string): Promise<NetworkObserved> {
  const { uplink } = scenario.hosts.find((host) => host.name === name)!;
  const { link, prefix, mtu } = uplink!;
  const before = `set -e
mount -t tmpfs none /run/netns
ip netns add .wire
ip link add ${link} mtu ${mtu} type veth peer name wire netns .wire
ip link set lo up
ip -n .wire link set wire up
ip address add ${prefix} dev ${link}
ip link set ${link} up
`;
  const after = `
cd /run/netns
for each in *; do ln -s "$each" "mark+$each"; done
cd - > /dev/null
exec ${process.execPath} test/e2e/observed-network.ts mark
`;
  const script = `${before}${networkPart(await printPlan(scenario, policies), name)}${after}`;
  const { stdout } = await execa('unshare', ['-m', '-n', 'sh'], { input: script });
  return JSON.parse(stdout) as NetworkObserved;
}

/** Without what the kernel chooses. */
const settled = ({ namespaces, links, entries, firewall }: NetworkObserved) => ({
  namespaces,
  links: links
    .filter((link) => link.type !== 'loopback' && (isOurs(link) || link.namespace !== ''))
    .map(({ mac, ...link }) => ({ ...link, mac: link.namespace === '' && link.type !== 'bridge' ? 'any' : mac })),
  entries,
  firewall,
});

const HOSTS = [
  ['figure-5', 'h1'],
  ['figure-5', 'h3'],
  ['nat', 'h1'],
] as const;

describe.runIf(process.geteuid?.() === 0)('a printed plan (skipped unless root, because links are made)', () => {
  test.each(HOSTS)('does by hand what the engine does: %s, host %s', async (file, host) => {
    const path = `scenarios/network/${file}.yaml`;
    const scenario = readScenario(readFileSync(path, 'utf8'), path, rulesFor('sim'));
    const wanted = settled(await made(scenario, host));
    expect(wanted.links.length).toBeGreaterThan(3);
    expect(settled(await byHand(scenario, host))).toEqual(wanted);
  });
});
