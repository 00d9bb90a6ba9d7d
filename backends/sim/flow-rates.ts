import type { ShareClass } from './htb-shares.ts';

/** What a flow wants of a stage. */
export interface Want {
  /** The class that it is sorted into there, which has none under it; null: none. */
  readonly into: ShareClass | null;
  /** In a second: bits of a link, seconds of a CPU. */
  readonly amount: number;
  /** It slows down where it is held back (TCP); else what is too much is dropped. */
  readonly isElastic: boolean;
  /** How much of what the stage stands before one of it takes: an Ethernet adds to a frame's bits; 1 unless set. */
  readonly takesBehind?: number;
}

/** Something that flows share: a host's CPUs, a link, a card. */
export interface Stage {
  /** How much each gets of what it wants, in their order. */
  share(wants: readonly Want[]): readonly number[];
}

/** A stage on a flow's way. */
export interface Step {
  readonly stage: Stage;
  readonly into: ShareClass | null;
  /** How much of it a packet takes. */
  readonly perPacket: number;
  /** See `Want`. */
  readonly takesBehind?: number;
}

/** Packets on their way through stages. */
export interface Flow {
  /** In order, one at least. */
  readonly steps: readonly Step[];
  readonly isElastic: boolean;
  readonly offeredPerSec: number;
}

/** What becomes of a flow's packets. */
export interface FlowRate {
  readonly arrivingPerSec: number;
  /** What comes to each step, and what passes it. */
  readonly steps: readonly StepRate[];
  /** The step that holds it back; null: none, all that is offered arrives. */
  readonly heldAt: number | null;
}

interface StepRate {
  readonly comingPerSec: number;
  readonly passingPerSec: number;
}

/** A rate that is found depends on others, which depend on it: so often are they found anew until none changes. */
const ROUNDS_MAX = 100;
/** Rates that differ by less are the same. */
const SAME = 1e-9;

/**
 * How fast flows go that share stages: each stage is asked for what it lets through of what comes. What does not slow down
 * comes to a stage as the one before let it through. What does has, at each, what it would get there if it took all it could
 * while the others take what they have: it goes at the least of these.
 */
export function ratesOf(flows: readonly Flow[]): FlowRate[] {
  const all = new FlowRates(flows);
  for (let round = 0; round < ROUNDS_MAX && all.adapt(); round++);
  return all.result();
}

/** Where a flow meets a stage. */
interface Meeting {
  readonly flow: number;
  readonly step: number;
}

class FlowRates {
  readonly #flows: readonly Flow[];
  readonly #meetings: ReadonlyMap<Stage, readonly Meeting[]>;
  /** Of each flow and step. */
  readonly #coming: number[][];
  readonly #passing: number[][];
  readonly #heldAt: (number | null)[];

  constructor(flows: readonly Flow[]) {
    this.#flows = flows;
    this.#meetings = inOrder(
      Map.groupBy(
        flows.flatMap(({ steps }, flow) => Array.from(steps.keys(), (step): Meeting => ({ flow, step }))),
        ({ flow, step }) => flows[flow]!.steps[step]!.stage,
      ),
    );
    this.#coming = flows.map(({ steps, offeredPerSec }) => steps.map(() => offeredPerSec));
    this.#passing = flows.map(({ steps }) => steps.map(() => 0));
    this.#heldAt = flows.map(() => null);
    this.#flow();
  }

  /** Each elastic flow takes what it can get. False: that is what it has. */
  adapt(): boolean {
    let hasChanged = false;
    for (const [flow, { isElastic, steps, offeredPerSec }] of this.#flows.entries()) {
      if (!isElastic) continue;
      const rooms = steps.map((_, step) => this.#roomFor(flow, step));
      const perSec = Math.min(offeredPerSec, ...rooms);
      this.#heldAt[flow] = perSec === offeredPerSec ? null : rooms.indexOf(perSec);
      hasChanged ||= !isSame(perSec, this.#coming[flow]![0]!);
      this.#coming[flow]!.fill(perSec);
    }
    return this.#flow() || hasChanged;
  }

  result(): FlowRate[] {
    return this.#flows.map(({ isElastic }, flow) => {
      const [coming, passing] = [this.#coming[flow]!, this.#passing[flow]!];
      const arrivingPerSec = isElastic ? Math.min(...passing) : passing.at(-1)!;
      return {
        arrivingPerSec,
        steps: passing.map((passingPerSec, step) =>
          isElastic
            ? { comingPerSec: arrivingPerSec, passingPerSec: arrivingPerSec }
            : { comingPerSec: coming[step]!, passingPerSec },
        ),
        heldAt: isElastic ? this.#heldAt[flow]! : lastLoss(coming, passing),
      };
    });
  }

  /** What would pass of a flow there if it were offered without end. */
  #roomFor(flow: number, step: number): number {
    const { stage, perPacket } = this.#flows[flow]!.steps[step]!;
    const meetings = this.#meetings.get(stage)!;
    const wants = meetings.map((each) => this.#want(each, each.flow === flow && each.step === step));
    return stage.share(wants)[meetings.findIndex((each) => each.flow === flow && each.step === step)]! / perPacket;
  }

  /** Lets what is offered flow from step to step, as often as it takes where ways cross. True: some rate has changed. */
  #flow(): boolean {
    let hasChanged = false;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      let isSettled = true;
      for (const [stage, meetings] of this.#meetings) {
        const shares = stage.share(meetings.map((each) => this.#want(each, false)));
        for (const [index, { flow, step }] of meetings.entries()) {
          const { steps, isElastic } = this.#flows[flow]!;
          const passing = Math.min(this.#coming[flow]![step]!, shares[index]! / steps[step]!.perPacket);
          this.#passing[flow]![step] = passing;
          if (isElastic || step + 1 === steps.length) continue;
          isSettled &&= isSame(passing, this.#coming[flow]![step + 1]!);
          this.#coming[flow]![step + 1] = passing;
        }
      }
      if (isSettled) return hasChanged;
      hasChanged = true;
    }
    return hasChanged;
  }

  #want({ flow, step }: Meeting, withoutEnd: boolean): Want {
    const { isElastic, steps } = this.#flows[flow]!;
    const { into, perPacket, takesBehind = 1 } = steps[step]!;
    return { into, amount: withoutEnd ? Infinity : this.#coming[flow]![step]! * perPacket, isElastic, takesBehind };
  }
}

/** Where the last of a flow's packets were lost, and its rate so became what it is. */
function lastLoss(coming: readonly number[], passing: readonly number[]): number | null {
  const at = passing.findLastIndex((each, step) => !isSame(each, coming[step]!));
  return at < 0 ? null : at;
}

const isSame = (a: number, b: number): boolean => a === b || Math.abs(a - b) <= SAME * Math.min(a, b);

/** Those that come late on somebody's way after those that come early: what is offered then flows in one round. */
const inOrder = (meetings: Map<Stage, Meeting[]>): Map<Stage, Meeting[]> =>
  new Map([...meetings].sort(([, a], [, b]) => lastOf(a) - lastOf(b)));

const lastOf = (meetings: readonly Meeting[]): number => Math.max(...meetings.map(({ step }) => step));
