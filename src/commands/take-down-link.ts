import type { Scenario } from '../scenario/scenario.ts';

/** The scenario as if it said `takeDownLink: true` of every network that takes VFs; so does what a recording of it keeps. */
export const mayTakeDownLinks = (scenario: Scenario): Scenario => ({
  ...scenario,
  hosts: scenario.hosts.map((host) =>
    host.network === undefined
      ? host
      : {
          ...host,
          network: {
            ...host.network,
            networks: host.network.networks.map((spec) =>
              spec.vf === undefined ? spec : { ...spec, vf: { ...spec.vf, takeDownLink: true } },
            ),
          },
        },
  ),
  written: writtenSo(scenario),
});

function writtenSo({ hosts, written }: Scenario): unknown {
  const byVf = new Set(
    hosts.flatMap(({ network }) =>
      (network?.networks ?? []).flatMap(({ name, vf }) => (vf === undefined ? [] : [name])),
    ),
  );
  const { networks, ...others } = written as { readonly networks?: Readonly<Record<string, object>> };
  if (networks === undefined) return written;
  const changed = Object.entries(networks).map(([name, spec]) => [
    name,
    byVf.has(name) ? { ...spec, takeDownLink: true } : spec,
  ]);
  return { ...others, networks: Object.fromEntries(changed) };
}
