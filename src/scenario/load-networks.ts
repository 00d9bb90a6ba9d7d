import { formatAddress, overlaps, parsePrefix } from '../host/ipv4.ts';
import { type Checking, own } from './checking.ts';
import type {
  Attachment,
  EgressRequest,
  NetworkedHost,
  NetworkSpec,
  ScenarioHost,
  ScenarioUplink,
} from './scenario.ts';
import type { Path } from './source.ts';

/** What joins the hosts where nobody said: addresses for private use (RFC 1918). */
const UNDERLAY = '192.168.77.0/24';

/** The first host's; those below are left to whatever else is there. */
const FIRST_HOST = 11;

const UPLINK = { link: 'eth0', mtu: 1500 };

/** What a scenario says of networks, the same for each of its hosts; and each host's own link to the others. */
export interface Networks {
  readonly specs: readonly NetworkSpec[];
  readonly uplinks: ReadonlyMap<string, ScenarioUplink>;
}

/** Undefined: the scenario has none. */
export function networksOf(checking: Checking): Networks | undefined {
  const { networks, hosts } = checking.written;
  if (networks === undefined) {
    for (const [name, host] of Object.entries(hosts ?? {}))
      for (const key of ['address', 'mtu', 'uplink'] as const)
        if (host[key] !== undefined)
          checking.problem(['hosts', name, key], `there are no networks for it: write networks, or leave ${key} out`);
    return undefined;
  }
  return {
    specs: Object.entries(networks).map(([name, spec]) => ({ name, ...spec })),
    uplinks: uplinksOf(checking),
  };
}

function uplinksOf(checking: Checking): Map<string, ScenarioUplink> {
  const { hostNames, written } = checking;
  const hosts = hostNames.map((name) => ({ name, ...own(written.hosts, name) }));
  const base = hosts.find(({ address }) => address !== undefined)?.address ?? UNDERLAY;
  const { first, last, bits } = parsePrefix(base);
  const uplinks = new Map<string, ScenarioUplink>();
  for (const [index, { name, address, mtu = UPLINK.mtu, uplink = UPLINK.link, nics }] of hosts.entries()) {
    // A host with cards of its own has an uplink only where one is written.
    if (nics !== undefined && address === undefined && own(written.hosts, name)?.uplink === undefined) continue;
    const prefix = address ?? `${formatAddress(first + FIRST_HOST + index)}/${bits}`;
    const path = address === undefined ? ['hosts', name] : ['hosts', name, 'address'];
    const segment = parsePrefix(prefix);
    if (segment.bits !== bits || !overlaps(prefix, base))
      checking.problem(path, `${prefix} is not in the network ${formatAddress(first)}/${bits} that joins the hosts`);
    else if (bits < 31 && (segment.address <= first || segment.address >= last))
      checking.problem(path, `${prefix} is no address for a host: the first and last of a network are its own`);
    const holder = [...uplinks].find(([, other]) => parsePrefix(other.prefix).address === segment.address)?.[0];
    if (holder !== undefined) checking.problem(path, `host ${holder} has the address ${prefix} too: choose another`);
    if (uplink === 'lo') checking.problem(['hosts', name, 'uplink'], 'lo leads nowhere: choose another name, eth0');
    uplinks.set(name, { link: uplink, prefix, mtu });
  }
  return uplinks;
}

/** A host's part of it. */
export const hostNetworkOf = (
  name: string,
  networks: Networks | undefined,
): Pick<ScenarioHost, 'network' | 'uplink'> => {
  if (networks === undefined) return {};
  const uplink = networks.uplinks.get(name);
  return uplink === undefined
    ? { network: { networks: networks.specs } }
    : { network: { uplink: uplink.link, networks: networks.specs }, uplink };
};

/** Those who are there at one time. */
export interface Placed {
  readonly name: string;
  readonly host: string;
  readonly attachments: readonly Attachment[];
  readonly egress?: EgressRequest;
}

/** Do the networks hold with these containers there? `change` is where it is written that somebody came. */
export function checkPlaces(
  checking: Checking,
  hosts: readonly ScenarioHost[],
  placed: readonly Placed[],
  change?: { readonly container: string; readonly path: Path },
): void {
  const networked = hosts.flatMap(({ name, network, uplink, egress }): NetworkedHost[] =>
    network === undefined
      ? []
      : [
          {
            name,
            network,
            ...(uplink !== undefined && { uplink }),
            ...(egress !== undefined && { egress }),
            containers: placed.filter(({ host }) => host === name),
          },
        ],
  );
  if (networked.length === 0 || checking.problems.length > 0) return;
  try {
    checking.rules.checkNetworks(networked);
  } catch (error) {
    if (!(error instanceof Error && 'about' in error)) throw error;
    checking.problem(placeOf(checking, String(error.about), change), error.message);
  }
}

function placeOf(
  checking: Checking,
  about: string,
  change: { readonly container: string; readonly path: Path } | undefined,
): Path {
  const network = /^network (.*)$/.exec(about)?.[1];
  if (network !== undefined) return ['networks', network];
  if (about === change?.container) return change.path;
  if (about.startsWith('uplink') && checking.written.egress !== undefined) return ['egress'];
  if (!checking.containerNames.includes(about)) return ['hosts'];
  // What is wrong is told with the container: both may be.
  const key = own(checking.written.containers, about)?.egress === undefined ? 'networks' : 'egress';
  return ['containers', about, key];
}
