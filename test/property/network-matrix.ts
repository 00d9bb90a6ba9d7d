// The full matrix of a case, asked of hosts of either backend and compared with the oracle.
import type { Host } from '../../src/host/host.ts';
import { formatAddress, parsePrefix } from '../../src/host/ipv4.ts';
import type { Answering, Probe, ProbeResult } from '../../src/host/probes.ts';
import type { Desired } from '../../src/engine/desired.ts';
import { type NetworkCase, OUTSIDE, uplinkAddress } from './network-cases.ts';
import { type Answer, type Member, type Question, saying, SERVICE_PORT, TUNNEL, type World } from './network-oracle.ts';

/** The machine outside: no engine runs on it. */
export const OUTSIDE_HOST = 'outside';

/** A host by its name, past all faults. */
export type HostOf = (name: string) => Host;

/** What is asked of one of the hosts. */
export function desiredOn(
  { networks, containers }: Pick<NetworkCase, 'networks' | 'containers'>,
  host: string,
): Desired {
  const here = containers.filter((container) => container.host === host);
  const used = new Set(here.flatMap(({ attachments }) => attachments.map(({ network }) => network)));
  return {
    memory: null,
    network: { uplink: 'eth0', networks: networks.filter(({ name }) => used.has(name)) },
    endpoints: here.map(({ name, attachments }) => ({ name, attachments })),
    containers: [],
  };
}

/** Everybody, with the addresses that are really on their links. @throws Error where one has none, or another than it asked for */
export async function worldOf({ hosts, networks, containers }: NetworkCase, hostOf: HostOf): Promise<World> {
  const specs = new Map(networks.map((spec) => [spec.name, spec]));
  const members: Member[] = [];
  for (const { name, host, attachments } of containers) {
    const entries = await hostOf(host).routing.list([name]);
    for (const [index, { network, address: wanted, publish }] of attachments.entries()) {
      const found = entries.find((entry) => entry.kind === 'address' && entry.link === `eth${index}`);
      if (found?.kind !== 'address') throw new Error(`${host}/${name} has no address on eth${index}`);
      const address = found.prefix.split('/')[0]!;
      if (wanted !== undefined && wanted !== address)
        throw new Error(`${host}/${name} asked for ${wanted} in ${network} and has ${address}`);
      members.push({ host, container: name, network: specs.get(network)!, address, publish });
    }
  }
  refuseTwice(members);
  return {
    hosts: [
      ...hosts.map(({ name }, index) => ({ name, address: uplinkAddress(index), outside: false })),
      { name: OUTSIDE_HOST, address: OUTSIDE, outside: true },
    ],
    members,
  };
}

function refuseTwice(members: readonly Member[]): void {
  const holders = new Map<string, string>();
  for (const { host, container, network, address } of members) {
    const segment =
      network.kind === 'bridge' ? `${network.name} on ${host}` : network.kind === 'overlay' ? network.name : '';
    const key = `${address} of ${segment}`;
    if (holders.has(key)) throw new Error(`${key} is ${host}/${container}'s and ${holders.get(key)}'s`);
    holders.set(key, `${host}/${container}`);
  }
}

/** Everybody to every address that there is, to what is published, and to tunnels; and forged, everybody in many names. */
export function questionsOf(world: World): Question[] {
  const { hosts, members } = world;
  const gateways = members.filter(({ network }) => network.nat).map(({ network }) => gatewayOf(network.pool));
  const addresses = distinct([
    ...members.map(({ address }) => address),
    ...hosts.map(({ address }) => address),
    ...gateways,
  ]);
  const published = distinctBy(
    members.flatMap(({ host, publish, network }) =>
      publish.flatMap(({ hostPort, hostAddress }) =>
        [
          hosts.find(({ name }) => name === host)!.address,
          gatewayOf(network.pool),
          ...(hostAddress === undefined ? [] : [hostAddress]),
        ].map((to) => ({ to, port: hostPort })),
      ),
    ),
  );
  const containers = distinctBy(members.map(({ host, container }) => ({ host, container })));
  const senders = [...containers, ...hosts.map(({ name }) => ({ host: name, container: '' }))];
  const udp = 'udp' as const;
  return [
    ...senders.flatMap((sender) => [
      ...addresses.map((to): Question => ({ ...sender, to, protocol: udp, port: SERVICE_PORT })),
      ...addresses.map((to): Question => ({ ...sender, to, protocol: 'icmp', port: 0 })),
      ...published.map(({ to, port }): Question => ({ ...sender, to, protocol: udp, port })),
    ]),
    ...containers.flatMap((sender) => [
      ...hosts.map(({ address: to }): Question => ({ ...sender, to, protocol: udp, port: TUNNEL })),
      ...forgedBy(world, sender, addresses),
    ]),
  ];
}

/** In the names of a few others, to everybody who may be reached or not. */
function forgedBy(world: World, sender: { host: string; container: string }, addresses: readonly string[]): Question[] {
  const others = addresses.filter(
    (address) =>
      !world.members.some(
        (each) => each.host === sender.host && each.container === sender.container && each.address === address,
      ),
  );
  return addresses.flatMap((to, index) => {
    const forgedSource = others[(index * 7 + sender.container.length) % others.length];
    if (forgedSource === undefined || forgedSource === to) return [];
    return [{ ...sender, to, forgedSource, protocol: 'udp' as const, port: SERVICE_PORT }];
  });
}

const gatewayOf = (pool: string): string => formatAddress(parsePrefix(pool).first + 1);

function distinct<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

function distinctBy<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

/** A question, what was said of it, and what came of it. */
export interface Asked {
  readonly question: Question;
  readonly said: Answer | undefined;
  readonly got: ProbeResult;
}

/** Lets everybody answer, and asks all. `tunnels`: hosts that answer at the port of tunnels, which no tunnel has there. */
export async function askAll(
  world: World,
  hostOf: HostOf,
  questions: readonly Question[],
  payloadBytes: number,
  tunnels: readonly string[],
): Promise<Asked[]> {
  const isForged = ({ forgedSource }: Question): boolean => forgedSource !== undefined;
  const ask = (some: readonly Question[]): Promise<Asked[]> => askSome(world, hostOf, some, payloadBytes, tunnels);
  // Apart, so that what arrives of a forged one cannot be taken for another's.
  return [...(await ask(questions.filter((each) => !isForged(each)))), ...(await ask(questions.filter(isForged)))];
}

async function askSome(
  world: World,
  hostOf: HostOf,
  questions: readonly Question[],
  payloadBytes: number,
  tunnels: readonly string[],
): Promise<Asked[]> {
  const open: Answering[] = [];
  try {
    for (const { name } of world.hosts) {
      const here = world.members.filter(({ host }) => host === name).map(({ container }) => container);
      open.push(
        await hostOf(name).probes.answer([
          ...distinct(['', ...here]).map((namespace) => ({ namespace, port: SERVICE_PORT })),
          ...(tunnels.includes(name) ? [{ namespace: '', port: TUNNEL }] : []),
        ]),
      );
    }
    const asked: Asked[] = [];
    for (const { name } of world.hosts) {
      const own = questions.filter(({ host }) => host === name);
      const results = await hostOf(name).probes.send(own.map((question) => probeOf(question, payloadBytes)));
      for (const [index, question] of own.entries())
        asked.push({ question, said: saying(world, question), got: results[index]! });
    }
    // A real host knows what came to it, and not what came elsewhere.
    const arrivals = (await Promise.all(open.map((each) => each.arrivals()))).flat();
    return asked.map((each) => {
      const { question, got } = each;
      if (question.forgedSource === undefined || got.arrivedAt !== null) return each;
      const came = arrivals.find(
        ({ sentBy, sentTo }) => sentBy === `${question.host}/${question.container}` && sentTo === question.to,
      );
      return came === undefined ? each : { ...each, got: { ...got, arrivedAt: came.at, seenFrom: came.seenFrom } };
    });
  } finally {
    for (const each of open) await each.close();
  }
}

const probeOf = ({ container, to, protocol, port, forgedSource }: Question, payloadBytes: number): Probe => ({
  from: container,
  to,
  protocol,
  payloadBytes,
  ...(protocol === 'udp' && { port }),
  ...(forgedSource !== undefined && { forgedSource }),
});

/** Where what came is not what was said: one line each. */
export function differences(asked: readonly Asked[]): string[] {
  return asked.flatMap(({ question, said, got }) => {
    if (said === undefined) return [];
    const { answeredBy, arrivedAt, seenFrom } = got;
    const { host, container, to, protocol, port, forgedSource } = question;
    const by = forgedSource === undefined ? answeredBy : arrivedAt;
    // Nothing of a container's may come where it may not, answered or not; hosts are trusted so far.
    const strayed = said.by === null && container !== '' && arrivedAt !== null;
    const seenRight =
      said.seenFrom === undefined || answeredBy === null || protocol === 'icmp' || seenFrom === said.seenFrom;
    if (by === said.by && !strayed && seenRight) return [];
    const as = forgedSource === undefined ? '' : ` as ${forgedSource}`;
    const what = `${host}/${container}${as} to ${to} ${protocol}${protocol === 'udp' ? ` port ${port}` : ''}`;
    const from = said.seenFrom === undefined ? '' : ` from ${said.seenFrom}`;
    return [
      `${what}: said ${said.by ?? 'nobody'}${from}; answered by ${answeredBy ?? 'nobody'}, came to ${arrivedAt ?? 'nobody'} from ${seenFrom ?? '-'}: ${got.why}`,
    ];
  });
}
