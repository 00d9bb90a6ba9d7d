import type { Errno } from '../../src/host/errors.ts';
import type { Random } from '../../src/host/random.ts';

/** Every call that passes the chain, and what may befall it. The supervisor's own calls are named `supervisor.*`. */
export const CALLS = {
  'clock.monotonicMs': ['delay', 'crash'],
  'clock.wallMs': ['delay', 'crash'],
  'clock.sleep': ['delay', 'crash'],
  'machine.describe': ['delay', 'fail', 'crash'],
  'cgroups.create': ['delay', 'fail', 'crash'],
  'cgroups.limit': ['delay', 'fail', 'crash'],
  'cgroups.remove': ['delay', 'fail', 'crash'],
  'cgroups.list': ['delay', 'fail', 'crash'],
  'cgroups.open': ['fail', 'crash'],
  'cgroups.read': ['delay', 'fail', 'crash'],
  'cgroups.kill': ['delay', 'fail', 'crash'],
  'containers.start': ['delay', 'fail', 'crash'],
  'containers.stop': ['delay', 'fail', 'crash'],
  'containers.list': ['delay', 'fail', 'crash'],
  'supervision.supervise': ['delay', 'fail', 'crash'],
  'supervision.release': ['delay', 'fail', 'crash'],
  'supervision.list': ['delay', 'fail', 'crash'],
  'supervision.take': ['crash'],
  'namespaces.create': ['delay', 'fail', 'crash'],
  'namespaces.remove': ['delay', 'fail', 'crash'],
  'namespaces.list': ['delay', 'fail', 'crash'],
  'links.create': ['delay', 'fail', 'crash'],
  'links.set': ['delay', 'fail', 'crash'],
  'links.move': ['delay', 'fail', 'crash'],
  'links.remove': ['delay', 'fail', 'crash'],
  'links.list': ['delay', 'fail', 'crash'],
  'virtualFunctions.enable': ['delay', 'fail', 'crash'],
  'virtualFunctions.set': ['delay', 'fail', 'crash'],
  'virtualFunctions.bind': ['delay', 'fail', 'crash'],
  'virtualFunctions.unbind': ['delay', 'fail', 'crash'],
  'virtualFunctions.list': ['delay', 'fail', 'crash'],
  'routing.add': ['delay', 'fail', 'crash'],
  'routing.remove': ['delay', 'fail', 'crash'],
  'routing.announce': ['delay', 'fail', 'crash'],
  'routing.list': ['delay', 'fail', 'crash'],
  'firewall.apply': ['delay', 'fail', 'crash'],
  'firewall.read': ['delay', 'fail', 'crash'],
  'shaper.add': ['delay', 'fail', 'crash'],
  'shaper.remove': ['delay', 'fail', 'crash'],
  'shaper.list': ['delay', 'fail', 'crash'],
  'shaper.counters': ['delay', 'fail', 'crash'],
  'probes.answer': ['delay', 'fail', 'crash'],
  'probes.send': ['delay', 'fail', 'crash'],
  'probes.receive': ['delay', 'fail', 'crash'],
  'probes.stream': ['delay', 'fail', 'crash'],
  'store.read': ['delay', 'fail', 'crash'],
  'store.commit': ['delay', 'fail', 'crash'],
  'store.watch': ['delay', 'fail', 'crash'],
  'store.openSession': ['delay', 'fail', 'crash'],
  'store.renewSession': ['delay', 'fail', 'crash'],
  'store.endSession': ['delay', 'fail', 'crash'],
  'supervisor.open': ['fail'],
  'supervisor.read': ['delay', 'fail'],
  'supervisor.kill': ['delay', 'fail'],
  'supervisor.look': ['delay', 'crash'],
} as const satisfies Record<string, readonly ('delay' | 'fail' | 'crash')[]>;

export type Call = keyof typeof CALLS;

/** Something that goes wrong. Data, so that a scenario file can hold it. */
export interface Fault {
  /** Only on this host; on all unless set. */
  readonly host?: string;
  /** A call, `cgroups.limit`, or all of one capability that it can befall, `cgroups.*`. */
  readonly on: string;
  /** From this time on; from the start unless set. */
  readonly atMs?: number;
  /** It strikes the n-th such call from then; the first unless set. */
  readonly nth?: number;
  /** So many calls in a row; 1 unless set. */
  readonly times?: number;
  /** Each of them with this probability, 0 to 1, drawn from the simulation's seed; always unless set. */
  readonly chance?: number;
  /**
   * A failing call is refused; a late one takes effect so much later, a late read gives the value of so long ago, a
   * late kill takes effect later although it returned. A crash ends the engine before or after the call has taken effect.
   */
  readonly do: { readonly fail: Errno } | { readonly delayMs: number } | { readonly crash: 'before' | 'after' };
  /** How many targets of the batch take effect before it fails or crashes; none unless set. */
  readonly after?: number;
}

/** What befalls one call: it is late by this, and then passes, fails or takes the engine down. */
export interface Strike {
  readonly delayMs: number;
  readonly end: { readonly fail: Errno; readonly after: number } | { readonly crash: number } | null;
}

/** The faults of one host: which call is struck, and how. Outside the model, which stays true. */
export class Faults {
  readonly #byCall = new Map<Call, Armed[]>();

  /** @throws RangeError where a fault names no call, or one that it cannot befall. */
  constructor(faults: readonly Fault[], random: Random) {
    for (const [index, fault] of faults.entries()) {
      const armed: Armed = { fault, seen: 0, random: random.fork(`fault ${index}`) };
      for (const call of callsOf(fault)) this.#byCall.set(call, [...(this.#byCall.get(call) ?? []), armed]);
    }
  }

  /** Can anything befall this call? */
  concerns(call: Call): boolean {
    return this.#byCall.has(call);
  }

  /** The longest that a read may be late, all delays together: how far back its values must be remembered. */
  delayMaxMs(call: Call): number {
    const all = this.#byCall.get(call) ?? [];
    return all.reduce((sum, { fault }) => sum + ('delayMs' in fault.do ? fault.do.delayMs : 0), 0);
  }

  /** What befalls this call, now; null: nothing. Delays add up; the first failure or crash decides. */
  strike(call: Call, nowMs: number): Strike | null {
    const all = this.#byCall.get(call);
    if (all === undefined) return null;
    let delayMs = 0;
    let end: Strike['end'] = null;
    let struck = false;
    for (const armed of all) {
      if (!strikesNow(armed, nowMs)) continue;
      struck = true;
      const { do: what, after } = armed.fault;
      if ('delayMs' in what) delayMs += what.delayMs;
      else if (end === null && 'fail' in what) end = { fail: what.fail, after: after ?? 0 };
      else if (end === null && 'crash' in what)
        end = { crash: what.crash === 'before' ? (after ?? 0) : Number.POSITIVE_INFINITY };
    }
    return struck ? { delayMs, end } : null;
  }
}

/** A fault and how many of its calls it has seen. */
interface Armed {
  readonly fault: Fault;
  seen: number;
  readonly random: Random;
}

function strikesNow(armed: Armed, nowMs: number): boolean {
  const { atMs = 0, nth = 1, times = 1, chance = 1 } = armed.fault;
  if (nowMs < atMs) return false;
  const index = ++armed.seen;
  if (index < nth || index >= nth + times) return false;
  return chance >= 1 || armed.random.next() < chance;
}

/** Can there be such a fault? @throws RangeError where it names no call, or one that it cannot befall. */
export const checkFault = (fault: Fault): void => void callsOf(fault);

function callsOf({ on, do: what }: Fault): Call[] {
  const kind = 'delayMs' in what ? 'delay' : 'fail' in what ? 'fail' : 'crash';
  const named = (Object.keys(CALLS) as Call[]).filter(
    (call) => call === on || (on.endsWith('.*') && call.startsWith(on.slice(0, -1))),
  );
  if (named.length === 0)
    throw new RangeError(`a fault on "${on}": there is no such call; there are ${Object.keys(CALLS).join(', ')}`);
  const able = named.filter((call) => (CALLS[call] as readonly string[]).includes(kind));
  if (able.length === 0)
    throw new RangeError(`a fault on "${on}" cannot ${kind}; it can ${CALLS[named[0]!].join(' or ')}`);
  return able;
}
