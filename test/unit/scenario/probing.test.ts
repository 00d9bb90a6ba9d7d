import { describe, expect, test } from 'vitest';
import type { AddressObservation } from '../../../src/engine/observation.ts';
import type { Arrival, Probe, ProbeResult } from '../../../src/host/probes.ts';
import { Addressing } from '../../../src/scenario/addressing.ts';
import { Leases } from '../../../src/scenario/leases.ts';
import { readScenario } from '../../../src/scenario/load.ts';
import { Prober } from '../../../src/scenario/probing.ts';
import type { ReachClaim } from '../../../src/scenario/reach.ts';
import type { Bystander } from '../../../src/scenario/run.ts';
import { NETWORKED, rules } from './rules.ts';

const NOBODY: ProbeResult = { answeredBy: null, arrivedAt: null, seenFrom: null, why: 'nothing came back' };

/** Hosts as real ones are: whoever sends does not learn what arrives on another host. */
class Wire {
  readonly sent: { readonly host: string; readonly probes: readonly Probe[] }[] = [];
  readonly places: string[] = [];
  readonly #arrivals: Arrival[] = [];
  readonly #arrives: (host: string, probe: Probe) => boolean;

  constructor(arrives: (host: string, probe: Probe) => boolean) {
    this.#arrives = arrives;
  }

  bystander(host: string): Bystander {
    const own = host === 'h1' ? 'c1' : 'c2';
    return {
      namespaces: { list: async () => [own] },
      links: { list: async () => [{ type: 'veth', name: 'eth0', mtu: 1350 }] },
      routing: { list: async () => [] },
      probes: {
        answer: async (places: readonly { namespace: string; port: number }[]) => {
          this.places.push(...places.map(({ namespace, port }) => `${host}/${namespace}:${port}`));
          return {
            arrivals: async () => this.#arrivals.filter(({ at }) => at.startsWith(`${host}/`)),
            close: async () => undefined,
          };
        },
        send: async (probes: readonly Probe[]) => {
          this.sent.push({ host, probes });
          return probes.map((probe) => {
            if (this.#arrives(host, probe))
              this.#arrivals.push({
                at: 'h2/c2',
                sentTo: probe.to,
                sentBy: `${host}/${probe.from}`,
                seenFrom: probe.forgedSource ?? '10.0.0.1',
              });
            return NOBODY;
          });
        },
      },
    } as unknown as Bystander;
  }
}

async function probe(claims: readonly string[], arrives: (host: string, probe: Probe) => boolean = () => true) {
  const claimed = claims.map((claim) => `  - text: it holds\n    that: { ${claim} }\n`).join('');
  const text = NETWORKED.replace(/expectations:[^]*$/, `expectations:\n${claimed}`);
  const scenario = readScenario(text, 'a.yaml', rules);
  const leases = new Leases();
  const lease = { kind: 'address', atMs: 0, mac: '02:00:00:00:00:01', taken: true } as const;
  const held: AddressObservation[] = [
    { ...lease, container: 'c1', network: 'blue', address: '10.0.0.1' },
    { ...lease, container: 'c1', network: 'web', address: '10.1.0.2' },
    { ...lease, container: 'c2', network: 'blue', address: '10.0.0.9' },
  ];
  for (const each of held) leases.learn(each);
  const wire = new Wire(arrives);
  const attachmentsOf = (container: string) =>
    scenario.containers.find(({ name }) => name === container)?.attachments ?? [];
  const prober = new Prober(
    scenario,
    scenario.expectations.map(({ claim }) => claim as ReachClaim),
    {
      bystander: (host) => wire.bystander(host),
      addressing: new Addressing(scenario, leases, attachmentsOf),
      attachmentsOf,
    },
  );
  const found = await Promise.all(prober.moments.map((moment) => prober.probe(moment)));
  return { wire, reached: found.flat().map((each) => each.reached) };
}

describe('probes of one moment', () => {
  test('answer in every namespace, on every host, and at every published UDP port', async () => {
    const { wire } = await probe(['reaches: { from: c1, to: c2 }']);
    expect(wire.places.toSorted()).toEqual(['h1/:7', 'h1/c1:53', 'h1/c1:7', 'h2/:7', 'h2/c2:7']);
  });

  test('are sent to the address in the first network that both are in', async () => {
    const { wire } = await probe(['reaches: { from: [c2, h2], to: c1 }']);
    expect(wire.sent.flatMap(({ probes }) => probes).map(({ from, to, port }) => ({ from, to, port }))).toEqual([
      { from: 'c2', to: '10.0.0.1', port: 7 },
      { from: '', to: '10.0.0.1', port: 7 },
    ]);
    const { wire: other } = await probe(['reaches: { from: c2, to: c1@web }']);
    expect(other.sent[0]!.probes).toMatchObject([{ to: '10.1.0.2' }]);
  });

  test('go together, by host, but those of one sender to one address one after another', async () => {
    const { wire } = await probe([
      'reaches: { from: [c1, c2], to: [c1, c2] }',
      'reaches: { from: c1, to: c2, as: 10.0.0.7 }',
      'reaches: { from: c1, to: c2, payload: full }',
    ]);
    expect(wire.sent.map(({ host, probes }) => [host, probes.length])).toEqual([
      ['h1', 1],
      ['h2', 1],
      ['h1', 1],
      ['h1', 1],
    ]);
    // The MTU of the link that is in the network, less 28.
    expect(wire.sent.at(-1)!.probes).toMatchObject([{ payloadBytes: 1322 }]);
  });

  test('what arrives on another host is the one that was sent, and no other', async () => {
    const { reached } = await probe(
      ['reaches: { from: c1, to: c2 }', 'reaches: { from: c1, to: c2, as: 10.0.0.7 }', 'reaches: { from: c1, to: h2 }'],
      (_host, { forgedSource }) => forgedSource !== undefined,
    );
    expect(reached).toMatchObject([
      { to: 'c2', arrivedAt: null, why: 'nothing came back' },
      { to: 'c2', forgedSource: '10.0.0.7', arrivedAt: 'h2/c2', seenFrom: '10.0.0.7' },
      { to: 'h2', arrivedAt: null },
    ]);
  });

  test('of two that arrive each is told as it arrived', async () => {
    const { reached } = await probe(['reaches: { from: c1, to: c2 }', 'reaches: { from: c1, to: c2, as: 10.0.0.7 }']);
    expect(reached.map(({ seenFrom }) => seenFrom)).toEqual(['10.0.0.1', '10.0.0.7']);
  });
});
