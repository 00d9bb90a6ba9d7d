import type { Desired, DesiredContainer } from '../engine/desired.ts';
import type { Errno } from '../host/errors.ts';
import type { Ipv4Prefix } from '../host/ipv4.ts';
import type { Bytes, Milliseconds } from '../host/units.ts';
import type { ByHand, NetworkNames } from './by-hand.ts';
import type { CardClaim } from './cards.ts';
import type { ReachClaim } from './reach.ts';
import type { TrafficClaim } from './traffic.ts';

export type BackendName = 'sim' | 'linux';
export const BACKENDS: readonly BackendName[] = ['sim', 'linux'];

/** How a host's memory is oversold, as the engine takes it. */
export type MemoryDesired = NonNullable<Desired['memory']>;

/** What is asked of a host's networks, as the engine takes it. */
export type NetworkDesired = NonNullable<Desired['network']>;
export type NetworkSpec = NetworkDesired['networks'][number];
/** A container's place in a network. */
export type Attachment = NonNullable<DesiredContainer['attachments']>[number];
export type PublishedPort = Attachment['publish'][number];

/** What a host's uplink carries, and what one container may send, as the engine takes them. */
export type EgressDesired = NonNullable<Desired['egress']>;
export type EgressRequest = NonNullable<DesiredContainer['egress']>;

/** A network card with virtual functions. */
export interface ScenarioNic {
  /** Its PF's link. */
  readonly link: string;
  /** What it is, where it is simulated; what a real one must be. */
  readonly driver?: string;
  readonly totalVfs?: number;
  readonly speedBitsPerSec?: number;
}

/** A host's link to the fabric that joins the hosts of a scenario. */
export interface ScenarioUplink {
  readonly link: string;
  readonly prefix: Ipv4Prefix;
  readonly mtu: number;
}

/** One machine of a scenario. What is not said of it is the backend's choice. */
export interface ScenarioHost {
  readonly name: string;
  readonly ramBytes: Bytes;
  readonly cpus: number;
  /** Undefined: either will do. */
  readonly cgroupVersion?: 1 | 2;
  /** At the beginning; the timeline may change it. */
  readonly memory: MemoryDesired;
  /** Where the scenario has networks: all of them, whoever is attached. */
  readonly network?: NetworkDesired;
  readonly uplink?: ScenarioUplink;
  readonly egress?: EgressDesired;
  /** Where it has any, a real host is the machine itself, and these are the machine's. */
  readonly nics: readonly ScenarioNic[];
}

/** A container of a scenario and the host it runs on. */
export interface ScenarioContainer extends DesiredContainer {
  readonly host: string;
  /** Those that no `start` of the timeline names are there from the beginning. */
  readonly fromBeginning: boolean;
}

/** What the timeline does at one moment. */
export type Action =
  | { readonly kind: 'start'; readonly container: string }
  | { readonly kind: 'stop'; readonly container: string }
  | { readonly kind: 'request'; readonly container: string; readonly requestBytes: Bytes }
  | { readonly kind: 'memory'; readonly host: string; readonly memory: MemoryDesired }
  /** The engine of this host is gone, at once, whatever it was doing; another takes over later. */
  | { readonly kind: 'crash'; readonly host: string; readonly restartAfterMs: Milliseconds }
  | { readonly kind: 'attach'; readonly container: string; readonly attachment: Attachment }
  /** Undefined: nothing is asked any more. */
  | { readonly kind: 'egress'; readonly container: string; readonly egress?: EgressRequest }
  | { readonly kind: 'detach'; readonly container: string; readonly network: string }
  /** The host falls silent: its engine is gone, its uplink down; what runs on it goes on. */
  | { readonly kind: 'hostDown'; readonly host: string; readonly uplink: string }
  | { readonly kind: 'hostUp'; readonly host: string; readonly uplink: string }
  /** Somebody changes the host behind Plimsoll's back. */
  | { readonly kind: 'byHand'; readonly host: string; readonly changes: readonly ByHand[] };

export interface TimelineEntry {
  readonly atMs: Milliseconds;
  readonly action: Action;
  /** It may be refused, and then nothing has changed. */
  readonly mayBeRefused: boolean;
}

/** Something that goes wrong on a simulated host; `on` is a call of the port, or `capability.*`. */
export interface ScenarioFault {
  readonly host?: string;
  readonly on: string;
  readonly atMs?: Milliseconds;
  readonly nth?: number;
  readonly times?: number;
  readonly chance?: number;
  readonly do: { readonly fail: Errno } | { readonly delayMs: Milliseconds } | { readonly crash: 'before' | 'after' };
  readonly after?: number;
}

/** What an expectation claims of the observations. Lists of containers are complete and in order where `killed` says so. */
export type Claim =
  | { readonly kind: 'killed'; readonly containers: readonly string[] }
  | { readonly kind: 'notKilled'; readonly containers: readonly string[] }
  | { readonly kind: 'noKills' }
  | { readonly kind: 'kills'; readonly atLeast?: number; readonly atMost?: number }
  | { readonly kind: 'killedBy'; readonly container: string; readonly cause: 'supervisor' | 'kernel' | 'exit' }
  | { readonly kind: 'wouldKill'; readonly containers: readonly string[] }
  | { readonly kind: 'livesToTheEnd'; readonly containers: readonly string[] }
  | { readonly kind: 'livesOverRequest'; readonly containers: readonly string[] }
  | { readonly kind: 'totalAtMost'; readonly limit: { readonly bytes: Bytes } | { readonly ofHardLimit: number } }
  | { readonly kind: 'killsWithinLooks'; readonly looks: number }
  | { readonly kind: 'passedOver'; readonly containers: readonly string[] }
  | { readonly kind: 'reason'; readonly container: string; readonly contains: string }
  | { readonly kind: 'refused'; readonly container?: string; readonly contains: string }
  | { readonly kind: 'told'; readonly contains: string }
  | ReachClaim
  | TrafficClaim
  | CardClaim;

/** Something the scenario claims, in words and as a claim that can be judged. */
export interface Expectation {
  readonly text: string;
  readonly claim: Claim;
  /** Only of this host's observations; undefined: of all. */
  readonly host?: string;
  readonly backends: readonly BackendName[];
  /** Undefined: whatever the policy. */
  readonly policies?: readonly string[];
}

/** A scenario, read and checked: nothing in it refers to nothing. */
export interface Scenario {
  readonly file: string;
  readonly title: string;
  readonly why: string;
  readonly seed: number;
  readonly backends: readonly BackendName[];
  readonly hosts: readonly ScenarioHost[];
  readonly containers: readonly ScenarioContainer[];
  /** In order of time. */
  readonly timeline: readonly TimelineEntry[];
  readonly endMs: Milliseconds;
  /** Only a simulated host can have them. */
  readonly faults: readonly ScenarioFault[];
  readonly expectations: readonly Expectation[];
  /** As it was written: what a recording keeps, and can be read again. */
  readonly written: unknown;
}

/** What a reader of scenarios must be told of the product's parts that it does not import. */
export interface Rules {
  /** Names of the shipped policies, the default first. */
  readonly policies: readonly string[];
  /** The memory rule's figures on a machine. Throws an Error whose `setting` names what to change. */
  readonly resolveLine: (
    asked: {
      readonly hardLimitBytes: Bytes;
      readonly killAt?: number | undefined;
      readonly stopAt?: number | undefined;
      readonly ceiling?: number | undefined;
      readonly lookEveryMs?: Milliseconds | undefined;
    },
    ramBytes: number,
  ) => MemoryDesired['line'];
  /** Throws where a fault names no call of a simulated host, or one that it cannot befall. */
  readonly checkFault: (fault: ScenarioFault) => void;
  /**
   * Do the networks and what is asked of egress fit their hosts and each other, with these containers there at one time?
   * Throws an Error whose `about` is `network NAME`, `uplink` and perhaps its name, or the name of a container.
   */
  readonly checkNetworks: (hosts: readonly NetworkedHost[]) => void;
  readonly networkNames: NetworkNames;
  /** RAM of the real machine, where the scenario is to run on it: it stands for every host's. */
  readonly machineRamBytes?: number;
}

/** A host's networks at one time, as they are checked. */
export interface NetworkedHost {
  readonly name: string;
  readonly network: NetworkDesired;
  readonly uplink?: ScenarioUplink;
  readonly egress?: EgressDesired;
  readonly containers: readonly Pick<DesiredContainer, 'name' | 'attachments' | 'egress'>[];
}
