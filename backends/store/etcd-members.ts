import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3, type IOptions } from 'etcd3';
import { HostError } from '../../src/host/errors.ts';
import { type Call, isNoAnswer, mayHaveTakenEffect, noAnswer, refusal } from './etcd-errors.ts';

export interface EtcdMembersOptions {
  readonly endpoints: readonly string[];
  readonly timeoutMs: number;
  /** What keys begin with: nothing else may be allowed to us. */
  readonly namespace: string;
  readonly user?: { readonly name: string; readonly password: string };
}

/** One member of the cluster as we reach it. */
export interface Member {
  readonly client: Etcd3;
  /** What to do when it no longer answers, for those who only listen to it. */
  readonly listeners: Set<() => void>;
}

/** One call, for as long as its share of the time lasts. */
type Act<T> = (member: Member, deadlineMs: number) => Promise<T>;

/** Between two rounds through all members none of which could be reached. */
const PAUSE_MS = 100;

/**
 * A member that hangs breaks no connection. etcd takes more than one ping in 5 s for an attack and hangs up
 * (--grpc-keepalive-min-time). After a lost connection the next is tried soon, not only after grpc-js's two minutes.
 */
const CHANNEL = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  // A read may be larger than grpc-js's 4 MiB.
  'grpc.max_receive_message_length': -1,
};

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

/** Every call once: etcd3 would repeat commits of which nobody knows whether they took effect. */
const ONCE = {
  onSuccess: () => ({ dispose: () => undefined }),
  onFailure: () => ({ dispose: () => undefined }),
  execute: async <T>(act: (context: { signal: AbortSignal }) => PromiseLike<T> | T): Promise<T> =>
    await act({ signal: new AbortController().signal }),
} as unknown as Policy;

/** The members of an etcd cluster, asked one after another until one answers, in bounded time. */
export class EtcdMembers {
  readonly #options: EtcdMembersOptions;
  readonly #members: readonly Member[];
  readonly #closing = new AbortController();
  /** Who answered last. */
  #answering: Member | undefined;

  constructor(options: EtcdMembersOptions) {
    this.#options = options;
    this.#members = options.endpoints.map((endpoint) => ({
      client: new Etcd3({
        hosts: [endpoint],
        grpcOptions: CHANNEL,
        faultHandling: { global: ONCE, host: () => ONCE },
        ...(options.user !== undefined && {
          auth: {
            username: options.user.name,
            password: options.user.password,
            callOptions: () => ({ deadline: Date.now() + options.timeoutMs }),
          },
        }),
      }),
      listeners: new Set<() => void>(),
    }));
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Aborted by `close`. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** @throws HostError EAGAIN where nobody could be reached, ETIMEDOUT where it may have taken effect, else what etcd says */
  async ask<T>(call: Call, act: Act<T>): Promise<T> {
    const untilMs = performance.now() + this.#options.timeoutMs;
    // Who is not known to answer is not given what can be given only once.
    if (!call.isRepeatable && this.#answering === undefined)
      await this.#ask({ ...call, isRepeatable: true }, untilMs, (member, deadline) => this.#probe(member, deadline));
    return await this.#ask(call, untilMs, act);
  }

  async #ask<T>(call: Call, untilMs: number, act: Act<T>): Promise<T> {
    let trouble: unknown;
    for (;;) {
      for (const [index, member] of this.#inTurn().entries()) {
        if (this.isClosed) throw new HostError('EIO', call.operation, call.target, { detail: 'this store was closed' });
        const leftMs = untilMs - performance.now();
        if (leftMs <= 0) break;
        const shareMs = call.isRepeatable ? leftMs / (this.#members.length - index) : leftMs;
        try {
          const result = await act(member, Date.now() + shareMs);
          this.#answering = member;
          return result;
        } catch (error) {
          if (!isNoAnswer(error)) throw refusal(call.operation, call.target, error);
          this.#doubt(member);
          trouble = mayHaveTakenEffect(trouble) ? trouble : error;
          if (!call.isRepeatable && mayHaveTakenEffect(error)) throw noAnswer(call, this.#options, error);
        }
      }
      if (untilMs - performance.now() <= PAUSE_MS) throw noAnswer(call, this.#options, trouble);
      await this.#pause(PAUSE_MS);
    }
  }

  /** Waits, until it is closed at most. */
  async #pause(delayMs: number): Promise<void> {
    await sleep(delayMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }

  /** A read that most of the members must agree to. */
  #probe({ client }: Member, deadline: number): Promise<unknown> {
    return client.kv.range({ key: Buffer.from(this.#options.namespace), count_only: true }, { deadline });
  }

  #inTurn(): readonly Member[] {
    const first = this.#answering;
    return first === undefined ? this.#members : [first, ...this.#members.filter((each) => each !== first)];
  }

  #doubt(member: Member): void {
    if (this.#answering === member) this.#answering = undefined;
    for (const listener of member.listeners) listener();
  }

  close(): void {
    if (this.isClosed) return;
    this.#closing.abort();
    for (const { client } of this.#members) client.close();
  }
}
