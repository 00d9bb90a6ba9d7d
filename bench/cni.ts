import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { execa } from 'execa';
import { withinFile } from '../backends/linux/netns.ts';

/** Where Debian's containernetworking-plugins puts them. */
export const CNI_FOLDER = '/usr/lib/cni';

const PLUGINS = ['bridge', 'host-local', 'portmap', 'bandwidth'] as const;

/** Are all plugins of the chain here? */
export const hasCni = (): boolean => PLUGINS.every((plugin) => existsSync(join(CNI_FOLDER, plugin)));

/** A container for the chain: an address of its own, and one published port. */
export interface CniContainer {
  readonly id: string;
  /** The file of its network namespace. */
  readonly namespace: string;
  readonly hostPort: number;
  readonly containerPort: number;
  /** More than this it does not send. */
  readonly ceilingBitsPerSec: number;
}

export interface CniPlace {
  /** The file of the network namespace that stands for the host. */
  readonly hostNamespace: string;
  readonly subnet: string;
  /** Where host-local writes down its addresses. */
  readonly dataFolder: string;
}

/** What a plugin is given to read. */
type Plugin = { readonly type: string } & Readonly<Record<string, unknown>>;

/** Ours: ten full frames. The plugin's own default is 256 MB. */
const BURST_BITS = 15_000 * 8;

/** What the bench calls it. */
export const CNI_NAME = 'CNI bridge, host-local, portmap and bandwidth';

/**
 * The CNI chain that gives a container what `plimsoll` gives it: a bridge that is the gateway, masquerading, an address of
 * a pool, a published port, a limit of what it sends. Run as cnitool runs it (the CNI specification, section 3): a process for each plugin, in order
 * for ADD, in reverse order for DEL, each told what came of the one before. The processes begin in the host's namespace, so
 * that no `nsenter` counts against them.
 */
export class CniChain {
  readonly #place: CniPlace;
  readonly #results = new Map<string, unknown>();

  constructor(place: CniPlace) {
    this.#place = place;
  }

  async add(container: CniContainer): Promise<void> {
    let result: unknown;
    for (const plugin of this.#plugins(container)) result = await this.#run('ADD', plugin, container, result);
    this.#results.set(container.id, result);
  }

  async remove(container: CniContainer): Promise<void> {
    const result = this.#results.get(container.id);
    for (const plugin of this.#plugins(container).toReversed()) await this.#run('DEL', plugin, container, result);
    this.#results.delete(container.id);
  }

  #plugins({ hostPort, containerPort, ceilingBitsPerSec }: CniContainer): readonly Plugin[] {
    const common = { cniVersion: '1.0.0', name: 'bench' };
    return [
      {
        ...common,
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: true,
        ipam: {
          type: 'host-local',
          dataDir: this.#place.dataFolder,
          ranges: [[{ subnet: this.#place.subnet }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      {
        ...common,
        type: 'portmap',
        capabilities: { portMappings: true },
        runtimeConfig: { portMappings: [{ hostPort, containerPort, protocol: 'udp' }] },
      },
      { ...common, type: 'bandwidth', egressRate: ceilingBitsPerSec, egressBurst: BURST_BITS },
    ];
  }

  #run(command: 'ADD' | 'DEL', plugin: Plugin, container: CniContainer, prevResult: unknown): Promise<unknown> {
    return runPlugin(this.#place.hostNamespace, command, container, {
      ...plugin,
      ...(prevResult === undefined ? {} : { prevResult }),
    });
  }
}

/** Runs one plugin in the host's namespace. Returns its result. */
export async function runPlugin(
  hostNamespace: string,
  command: 'ADD' | 'DEL',
  { id, namespace }: Pick<CniContainer, 'id' | 'namespace'>,
  plugin: Plugin,
): Promise<unknown> {
  const env = {
    ...process.env,
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_NETNS: namespace,
    CNI_IFNAME: 'eth0',
    CNI_PATH: CNI_FOLDER,
  };
  // A session of its own: Ctrl-C at the terminal must not cut it off half done.
  const child = withinFile(hostNamespace, () => spawn(join(CNI_FOLDER, plugin.type), { env, detached: true }));
  child.stdin.end(JSON.stringify(plugin));
  const [stdout, stderr, ended] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  if (ended[0] !== 0) throw new Error(`CNI ${plugin.type} ${command} ${id}: ${stdout}${stderr}`.trim());
  return stdout === '' ? undefined : (JSON.parse(stdout) as unknown);
}

/** What the peer is, for whoever reads the figures later. */
export async function describeCni(): Promise<{ readonly command: string; readonly version: string }> {
  const said = async (command: string, ...args: string[]): Promise<string> => {
    const { stdout, failed } = await execa(command, args, { reject: false });
    return failed ? 'unknown' : stdout;
  };
  const [version, iptables] = await Promise.all([
    said('dpkg-query', '-W', '-f=${Version}', 'containernetworking-plugins'),
    said('iptables', '--version'),
  ]);
  return {
    command: `CNI_COMMAND=ADD ${CNI_FOLDER}/bridge (isGateway, ipMasq, host-local), then ${CNI_FOLDER}/portmap, then ${CNI_FOLDER}/bandwidth; DEL in reverse`,
    version: `containernetworking-plugins ${version}, ${iptables}`,
  };
}
