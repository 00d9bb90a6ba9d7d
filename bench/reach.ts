import { createSimulation, type Simulation } from '../backends/sim/simulation.ts';
import { Engine } from '../src/engine/engine.ts';
import { GIB, bytes } from '../src/host/units.ts';
import { gaia } from '../src/memory/policies/gaia.ts';
import { supervisorFactory } from '../src/memory/supervisor.ts';
import type { NetworkSpec } from '../src/network/desired.ts';
import type { GoOn } from './attach.ts';

const HOSTS = 50;
const TENANTS = 2;
/** Of each tenant on each host: 1,000 containers. */
const CONTAINERS = 10;

/** Each tenant has the same addresses as the other. */
const networkOf = (tenant: number): NetworkSpec => ({
  name: `tenant${tenant}`,
  kind: 'overlay',
  pool: '10.90.0.0/22',
  internal: false,
  nat: false,
});

interface End {
  readonly tenant: number;
  readonly host: string;
  readonly namespace: string;
  readonly address: string;
}

/**
 * Seconds in which the simulator tells who answers whom among 1,000 containers on 50 hosts: a million questions, each
 * walked there and back through bridges, tunnels and filters that engines have set up by the same plan as on a real host.
 * Two tenants have the same addresses, and each must be answered by its own.
 */
export async function reachTimes(runs: number, goOn: GoOn): Promise<number[]> {
  goOn(`${HOSTS} simulated hosts`);
  const simulation = createSimulation({
    seed: 1,
    hosts: Array.from({ length: HOSTS }, (_, index) => ({
      name: `h${index}`,
      ramBytes: bytes(32 * GIB),
      cpus: 8,
      cgroupVersion: 2,
    })),
    supervisor: supervisorFactory(() => gaia),
  });
  const ends = await settle(simulation);
  const rounds: number[] = [];
  for (let run = 1; run <= runs; run++) {
    goOn(`a million pairs, round ${run} of ${runs}`);
    // After any change all that was worked out from what was there is worked out anew.
    await simulation.run(() => simulation.host('h0').namespaces.create([`round${run}`]));
    const begun = process.hrtime.bigint();
    const answered = simulation.reachability(ends);
    rounds.push(Number(process.hrtime.bigint() - begun) / 1e9);
    insistRight(ends, answered);
  }
  return rounds;
}

async function settle(simulation: Simulation): Promise<End[]> {
  const ends: End[] = [];
  await simulation.run(async () => {
    const engines = Array.from({ length: HOSTS }, (_, index) => {
      const host = simulation.connect(`h${index}`);
      return new Engine(host, {
        policies: () => gaia,
        sink: (seen) => {
          if (seen.kind === 'address' && seen.taken)
            ends.push({
              tenant: Number(seen.network.slice('tenant'.length)),
              host: host.name,
              namespace: seen.container,
              address: seen.address,
            });
        },
        zeroMs: host.clock.monotonicMs(),
      });
    });
    const tenants = Array.from({ length: TENANTS }, (_, tenant) => tenant);
    for (const [index, engine] of engines.entries())
      await engine.ask({
        memory: null,
        network: { networks: tenants.map(networkOf) },
        endpoints: tenants.flatMap((tenant) =>
          Array.from({ length: CONTAINERS }, (_, number) => ({
            name: `c${index}-${tenant}-${number}`,
            attachments: [{ network: `tenant${tenant}`, publish: [] }],
          })),
        ),
        containers: [],
      });
    // By now every host knows only those that came before it.
    for (const engine of engines) await engine.recover();
  });
  return ends;
}

/** @throws Error unless every question was answered by the asker's own tenant */
function insistRight(ends: readonly End[], answered: Int32Array): void {
  const wanted = new Map(ends.map(({ tenant, address }, index) => [`${tenant} ${address}`, index]));
  for (const [from, { tenant }] of ends.entries())
    for (const [to, { address }] of ends.entries()) {
      const is = answered[from * ends.length + to]!;
      const by = wanted.get(`${tenant} ${address}`);
      if (by !== is)
        throw new Error(
          `${ends[from]!.namespace} asks ${address}, and is answered by ${ends[is]?.namespace ?? is}, not by ${by === undefined ? 'nobody' : ends[by]!.namespace}`,
        );
    }
}
