import { existsSync, writeFileSync } from 'node:fs';
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from '../../backends/linux/fabric.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { runTool } from '../../backends/linux/tool.ts';
import { type Echo, startEcho } from './echo.ts';
import type { PathSpec } from './paths.ts';
import { layPicture, type PathContainer } from './picture.ts';
import { openSink, type Sink } from './sink.ts';
import { undoAll } from './undo.ts';
import { linuxPathHost } from './path-host.ts';
import { OWN_WIRE, ownWire, SINK } from './wire.ts';

/** A path as it stands: containers at its beginning, the sink at its end. */
export interface NicPlace {
  readonly path: PathSpec;
  readonly root: NetworkRoot;
  readonly containers: readonly PathContainer[];
  readonly sink: Sink;
  /** On a wire of the machine's own every packet that is sent comes, and at once; a card may be slower than its sender, or its peer. */
  readonly isWhole: boolean;
  /** Has the sink answer what asks, until it is closed. Null: nobody is there that could. @throws HostError where somebody else does */
  readonly echo: (() => Promise<Echo>) | null;
  close(): Promise<void>;
}

/** Lays a path for so many containers on a host of its own with a wire of its own. @throws HostError, Error */
export async function makePlace(path: PathSpec, count: number): Promise<NicPlace> {
  // All of it carries the mark of this run, so that the next one finds what a crash leaves.
  const mark = runMark(`nic-${path.name}`);
  const root = new NetworkRoot({ mark, own: ownNamespaceOf(mark) });
  try {
    makeOwnNamespace(mark);
    const host = linuxPathHost(root);
    await layPicture(host, ownWire());
    const picture = path.picture(count, OWN_WIRE);
    await layPicture(host, picture);
    await dressHost(root, path);
    const sink = await openSink(root, SINK);
    return {
      path,
      root,
      containers: picture.containers,
      sink,
      isWhole: true,
      echo: () => startEcho(root.pathOf(SINK)),
      close: () => undoAll([() => removeNetwork(mark), () => sink.close()]),
    };
  } catch (error) {
    await removeNetwork(mark);
    throw error;
  }
}

const BRIDGE_CALLS = '/proc/sys/net/bridge/bridge-nf-call-iptables';

/** The tables of iptables as they are before anybody lays a rule. */
const BARE = `*filter
:FORWARD ACCEPT
COMMIT
*nat
COMMIT
`;

/**
 * Lays what is not Plimsoll's. By the legacy variant of iptables: it is the cheapest that Docker's NAT can be; a packet past
 * iptables-nft takes a fifth more (measured).
 */
export async function dressHost(root: NetworkRoot, { foreign, bridgeCalls = true }: PathSpec): Promise<void> {
  root.within('', () => {
    // Where there is no br_netfilter no frame of a bridge passes the filter of IP.
    if (existsSync(BRIDGE_CALLS)) writeFileSync(BRIDGE_CALLS, bridgeCalls ? '1' : '0');
    if (foreign !== undefined) writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  });
  if (foreign !== undefined) await insistTool(root, 'iptables-legacy-restore', [], foreign.rules);
}

/** Takes it away again: no rule is left, but the kernel still asks the tables. */
export const undressHost = (root: NetworkRoot): Promise<void> => insistTool(root, 'iptables-legacy-restore', [], BARE);

async function insistTool(root: NetworkRoot, file: string, args: readonly string[], input?: string): Promise<void> {
  const { ok, stderr } = await runTool(root, file, args, input);
  if (!ok) throw new Error(`${file} ${args.join(' ')}: ${stderr.trim()}`);
}
