import { setTimeout as sleep } from 'node:timers/promises';
import { castGrpcError, castGrpcErrorMessage, GRPCDeadlineExceededError, GRPCUnavailableError } from 'etcd3';
import * as z from 'zod';
import type { EtcdMembers, Member } from './etcd-members.ts';

/** A range of keys as etcd names it: from `key` up to, not including, `range_end`. */
export interface KeyRange {
  readonly key: Buffer;
  readonly range_end: Buffer;
}

const WatchAnswer = z.object({
  created: z.boolean(),
  canceled: z.boolean(),
  cancel_reason: z.string(),
  events: z.array(z.unknown()),
});

type Stream = Awaited<ReturnType<Member['client']['watchClient']['watch']>>;
type StreamOptions = NonNullable<Parameters<Member['client']['watchClient']['watch']>[0]>;
type Interceptor = NonNullable<StreamOptions['interceptors']>[number];

/** A member without a leader says so, instead of staying silent while the others go on (etcd's clients call it WithRequireLeader). */
const requireLeader: Interceptor = (options, next) => {
  const call = next(options);
  const start = call.start.bind(call);
  call.start = (metadata, listener) => {
    metadata.set('hasleader', 'true');
    start(metadata, listener);
  };
  // What `next` gives is all that grpc-js asks for; its type names a class of its own.
  return call as ReturnType<Interceptor>;
};

/** Between two attempts to watch again, once no member could be reached for a call's whole time. */
const AGAIN_MS = 500;

/**
 * Calls `notify` after changes in the range until the signal, through losses of connection: then from some member anew, and
 * `notify` is called once, as nobody knows what was missed. @throws HostError where it cannot begin
 */
export async function watchRange(
  members: EtcdMembers,
  { prefix, range, notify }: { readonly prefix: string; readonly range: KeyRange; readonly notify: () => void },
  signal: AbortSignal,
): Promise<void> {
  const stop = AbortSignal.any([signal, members.closing]);
  const call = { operation: 'store.watch', target: prefix, isRepeatable: true };
  const begin = (): Promise<void> =>
    members.ask(call, (member, deadlineMs) => listen(member, { range, notify, deadlineMs, stop, onLost: again }));
  const again = async (): Promise<void> => {
    for (let isBack = false; !isBack && !stop.aborted;) {
      isBack = await begin().then(
        () => true,
        () => false,
      );
      // Where it is not back: whoever waits reads, and is told there what the matter is.
      if (!stop.aborted) notify();
      if (!isBack) await sleep(AGAIN_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  };
  if (!stop.aborted) await begin();
}

interface Listening {
  readonly range: KeyRange;
  readonly notify: () => void;
  readonly deadlineMs: number;
  readonly stop: AbortSignal;
  readonly onLost: () => Promise<void>;
}

/** Resolves once the member has begun to watch from its present revision on. */
async function listen(member: Member, { range, notify, deadlineMs, stop, onLost }: Listening): Promise<void> {
  const stream = await member.client.watchClient.watch({ interceptors: [requireLeader] });
  await new Promise<void>((resolve, reject) => {
    let state: 'beginning' | 'listening' | 'over' = 'beginning';
    const late = setTimeout(
      () => over(new GRPCDeadlineExceededError('the watch did not begin in time')),
      untilMs(deadlineMs),
    );
    const over = (error: Error): void => {
      const before = state;
      if (before === 'over') return;
      state = 'over';
      clearTimeout(late);
      member.listeners.delete(lost);
      stop.removeEventListener('abort', stopped);
      end(stream);
      if (before === 'beginning') reject(error);
      else if (!stop.aborted) void onLost();
    };
    const lost = (): void => over(new GRPCUnavailableError('the member no longer answers'));
    const stopped = (): void => {
      // Nobody waits for it any more, which is no error.
      resolve();
      over(new GRPCUnavailableError('the watch was stopped'));
    };
    const take = (data: unknown): void => {
      if (state === 'over') return;
      const answer = WatchAnswer.safeParse(data);
      if (!answer.success) over(answer.error);
      else if (answer.data.canceled) over(castGrpcErrorMessage(`watch cancelled: ${answer.data.cancel_reason}`));
      else if (answer.data.created) {
        state = 'listening';
        clearTimeout(late);
        member.listeners.add(lost);
        resolve();
      } else if (answer.data.events.length > 0) notify();
    };
    stop.addEventListener('abort', stopped, { once: true });
    stream
      .on('data', take)
      .on('error', (error) => over(castGrpcError(error)))
      .on('end', () => over(new GRPCUnavailableError('the watch was ended')));
    // An abort that came while the stream was opened called nobody.
    if (stop.aborted) stopped();
    else stream.write({ create_request: { ...range } });
  });
}

const untilMs = (deadlineMs: number): number => Math.max(0, deadlineMs - Date.now());

/** Ended first: etcd3 takes an error of a stream that still writes, a cancellation too, for a failure of the member. */
function end(stream: Stream): void {
  stream.end();
  stream.cancel();
}
