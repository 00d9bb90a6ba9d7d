import { HostError } from '../../src/host/errors.ts';
import type { EventQueue } from './events.ts';
import { ratesOf } from './flow-rates.ts';
import { Stages } from './flow-stages.ts';
import { GoingStream, type StreamSent } from './going-stream.ts';
import type { Network, Space } from './network.ts';
import type { PacketCosts } from './packet-costs.ts';
import type { StreamEnd } from './stream-end.ts';

/**
 * All streams of packets in a simulation, as fluids: between two changes of anything each goes at one rate, which is found
 * from its way (flow-way.ts) and from what it shares with others there (flow-rates.ts). What has flowed by now is counted when
 * somebody reads it, and before anything changes. Left out: bursts, queues and how long packets wait in them; what TCP sends
 * back; and the time TCP takes to find its rate.
 */
export class Traffic {
  readonly #network: Network;
  readonly #costs: PacketCosts;
  readonly #events: EventQueue;
  readonly #ends: StreamEnd[] = [];
  #streams: GoingStream[] = [];
  #settledMs = 0;
  #isDue = false;

  constructor(network: Network, costs: PacketCosts, events: EventQueue) {
    this.#network = network;
    this.#costs = costs;
    this.#events = events;
  }

  endAt(space: Space, protocol: number, port: number): StreamEnd | undefined {
    return this.#ends.find((end) => end.space === space && end.protocol === protocol && end.port === port);
  }

  open(end: StreamEnd): void {
    this.#ends.push(end);
    this.changed();
  }

  close(end: StreamEnd): void {
    const at = this.#ends.indexOf(end);
    if (at < 0) return;
    this.settle();
    this.#ends.splice(at, 1);
    end.isClosed = true;
    this.changed();
  }

  /** Begins streams, all at once. @throws HostError EOPNOTSUPP where it is not modelled how fast one goes */
  begin(all: readonly { readonly sent: StreamSent; readonly target: string }[]): readonly GoingStream[] {
    this.settle();
    const begun = all.map(({ sent }) => new GoingStream(sent));
    this.#streams.push(...begun);
    this.#findRates();
    const at = begun.findIndex(({ unknown }) => unknown !== null);
    if (at < 0) return begun;
    this.end(begun);
    throw new HostError('EOPNOTSUPP', 'probes.stream', all[at]!.target, { detail: begun[at]!.unknown! });
  }

  end(streams: readonly GoingStream[]): void {
    this.settle();
    this.#streams = this.#streams.filter((each) => !streams.includes(each));
    this.changed();
  }

  /** Something is other than it was until now: rates are found anew before any time passes. */
  changed(): void {
    if (this.#streams.length === 0) return;
    this.settle();
    if (this.#isDue) return;
    this.#isDue = true;
    this.#events.at(this.#events.nowMs, () => {
      if (this.#isDue) this.#findRates();
    });
  }

  /** Counts what has flowed until now. */
  settle(): void {
    const { nowMs } = this.#events;
    const passedMs = nowMs - this.#settledMs;
    this.#settledMs = nowMs;
    if (passedMs > 0) for (const stream of this.#streams) stream.flow(passedMs);
  }

  #findRates(): void {
    this.#isDue = false;
    const stages = new Stages(this.#costs);
    const flows = this.#streams.map((stream) =>
      stream.findWay(this.#network, stages, (space, protocol, port) => this.endAt(space, protocol, port)),
    );
    const rates = ratesOf(flows.filter((flow) => flow !== null)).values();
    for (const [index, stream] of this.#streams.entries())
      stream.takeRate(flows[index] === null ? null : rates.next().value!);
  }
}
