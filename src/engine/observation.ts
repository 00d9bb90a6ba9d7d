import type { ForeignQdisc } from '../host/shaper.ts';
import type { SupervisorEvent } from '../host/supervision.ts';
import type { Verb } from '../host/steps.ts';
import type { PhysicalFunction, VirtualFunction } from '../host/virtual-functions.ts';

/** The first line of every recording: what ran, so that it can be run again. */
export interface RunHeader {
  readonly kind: 'run';
  /** Of the recording's form: a reader refuses a newer one. */
  readonly version: 1;
  readonly title: string;
  readonly backend: 'sim' | 'linux';
  readonly policy: string;
  /** What stood in for the scenario's own policies: a name, or the absolute path of a file. */
  readonly policyOverride?: string | undefined;
  readonly seed: number;
  readonly commit: string;
  /** Of a simulated run: the scenario as it was read, so that its replay is exact. */
  readonly scenario?: unknown;
  readonly hosts: readonly string[];
}

/** A step the engine took. */
export interface StepObservation {
  readonly kind: 'step';
  readonly atMs: number;
  readonly verb: Verb;
  readonly target: string;
  readonly why: string;
  /** The host's refusal, if it refused. */
  readonly error?: string;
}

/** A container is there, with what it asked for. */
export interface StartObservation {
  readonly kind: 'start';
  readonly atMs: number;
  readonly container: string;
  readonly requestBytes: number;
  readonly priority: number;
}

/** A running container asks for another amount. */
export interface RequestObservation {
  readonly kind: 'request';
  readonly atMs: number;
  readonly container: string;
  readonly requestBytes: number;
}

/** An address is a container's, or is given back; told when the store has it so. */
export interface AddressObservation {
  readonly kind: 'address';
  readonly atMs: number;
  readonly container: string;
  readonly network: string;
  readonly address: string;
  readonly mac: string;
  readonly taken: boolean;
}

/** Somebody tried to reach somebody. */
export interface ReachObservation {
  readonly kind: 'reach';
  readonly atMs: number;
  /** The moment it was asked for, by the timeline: of one moment all are sent together. */
  readonly momentMs: number;
  /** The sender, and the address it gave as its own where that is not so. */
  readonly from: string;
  readonly forgedSource?: string;
  /** Whom it was to reach, as it was asked, and the address that came to; null: it had none, and nothing was sent. */
  readonly to: string;
  readonly address: string | null;
  readonly protocol: 'udp' | 'icmp';
  readonly port?: number;
  readonly payloadBytes?: number;
  /** As large as the sender's link takes. */
  readonly full?: true;
  /** As in `ProbeResult`. */
  readonly answeredBy: string | null;
  readonly arrivedAt: string | null;
  readonly seenFrom: string | null;
  readonly why: string;
}

/** Packets were sent, and counted in the classes of the sender's uplink. */
export interface ClassesObservation {
  readonly kind: 'classes';
  readonly atMs: number;
  readonly momentMs: number;
  readonly from: string;
  readonly to: string;
  /** Whose mark the sender itself gave them; undefined: none. */
  readonly markedAs?: string;
  readonly sent: number;
  /** How many each class counted meanwhile: by container, `default` for what nobody marked, else by the class's number. */
  readonly counted: Readonly<Record<string, number>>;
  /** Why nothing was sent; empty otherwise. */
  readonly why: string;
}

/** How fast packets of one sender arrived, with all other streams of that moment beside it. */
export interface RateObservation {
  readonly kind: 'rate';
  readonly atMs: number;
  readonly momentMs: number;
  readonly from: string;
  readonly to: string;
  readonly protocol: 'tcp' | 'udp';
  /** On the wire; null: nothing was sent, and why. */
  readonly bitsPerSec: number | null;
  readonly forMs: number;
  readonly why: string;
}

/** How many datagrams of one sender arrived in a second, with all other streams of that moment beside it. */
export interface PacketsObservation {
  readonly kind: 'packets';
  readonly atMs: number;
  readonly momentMs: number;
  readonly from: string;
  readonly to: string;
  /** Of each. */
  readonly payloadBytes: number;
  /** Null: nothing was sent, and why. */
  readonly packetsPerSec: number | null;
  readonly forMs: number;
  readonly why: string;
}

/** A host's virtual functions, and what is written down of them. */
export interface FunctionsObservation {
  readonly kind: 'functions';
  readonly atMs: number;
  /** The moment it was asked for, by the timeline; undefined: after something was done. */
  readonly momentMs?: number;
  readonly physical: readonly Pick<PhysicalFunction, 'pf' | 'driver' | 'vfCount' | 'carrier'>[];
  readonly virtual: readonly VirtualFunction[];
  /** VFs that the store says are in a container's hand, or not yet given back, as `vfKey` has them. */
  readonly held: readonly string[];
}

/** Root qdiscs that somebody else laid on a host's links. */
export interface QdiscsObservation {
  readonly kind: 'qdiscs';
  readonly atMs: number;
  readonly momentMs: number;
  readonly foreign: readonly ForeignQdisc[];
}

/** What was asked of a host cannot be, and is not asked any more. */
export interface RefusalObservation {
  readonly kind: 'refusal';
  readonly atMs: number;
  /** Of whom, where it was of one container. */
  readonly container?: string;
  readonly message: string;
}

/** A container is gone. */
export interface DeathObservation {
  readonly kind: 'death';
  readonly atMs: number;
  readonly container: string;
  /** `supervisor`: Plimsoll killed it; `kernel`: the OOM killer; `stopped`: asked for; `exit`: by itself. */
  readonly cause: 'supervisor' | 'kernel' | 'stopped' | 'exit';
}

/** The machine's line, whenever it is set or changes. */
export interface LineObservation {
  readonly kind: 'line';
  readonly atMs: number;
  readonly policy: string;
  readonly hardLimitBytes: number;
  readonly killAtBytes: number;
  readonly stopAtBytes: number;
  readonly ceilingBytes: number;
  readonly lookEveryMs: number;
}

/** The engine crashed or came back, a fault struck, an invariant broke: things told in words. */
export interface NoteObservation {
  readonly kind: 'note';
  readonly atMs: number;
  readonly about: 'crash' | 'recovery' | 'timeline' | 'invariant' | 'trouble';
  readonly message: string;
}

/** The last line of a recording that was not cut off. */
export interface EndObservation {
  readonly kind: 'end';
  readonly atMs: number;
}

/** One line of a recording: what was seen, on which host (absent where there is only one). `atMs` counts from the start of the run. */
export type Observation = { readonly host?: string } & (
  | StepObservation
  | StartObservation
  | RequestObservation
  | DeathObservation
  | AddressObservation
  | ReachObservation
  | ClassesObservation
  | RateObservation
  | PacketsObservation
  | FunctionsObservation
  | QdiscsObservation
  | RefusalObservation
  | LineObservation
  | NoteObservation
  | SupervisorEvent
  | EndObservation
);

/** Takes observations as they come. */
export type ObservationSink = (observation: Observation) => void;
