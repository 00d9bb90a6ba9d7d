import { EtcdLeaseInvalidError, castGrpcError, GRPCUnavailableError, type IRequestOp } from 'etcd3';
import * as z from 'zod';
import { HostError } from '../../src/host/errors.ts';
import type { SessionId, Store, StoreEntry, Transaction } from '../../src/host/store.ts';
import { EtcdMembers, type Member } from './etcd-members.ts';
import { type KeyRange, watchRange } from './etcd-watch.ts';
import { refuseTtl, refuseTwice, sessionEnded } from './refusals.ts';

/**
 * A store in an etcd cluster, for the engines of several hosts.
 *
 * A session is a lease: its time is rounded up to whole seconds, and etcd gives no less than one and a half of its own
 * election timeout, 2 s unless it was started otherwise. A new leader gives every lease its whole time again. etcd ends
 * what is over within half a second. A commit that got no answer fails with ETIMEDOUT and may have taken effect: whoever
 * made it reads before it does so again.
 */
export interface EtcdStore extends Store {
  /** Its watches end; sessions live on for their time. Again is no error. */
  close(): void;
}

export interface EtcdOptions {
  /** Of any members, `http://HOST:PORT`; one that does not answer is passed over for another. */
  readonly endpoints: readonly string[];
  /** What all keys begin with in etcd: `plimsoll/` unless set. */
  readonly namespace?: string;
  /** What any call takes at most: 3000 unless set. */
  readonly timeoutMs?: number;
  /** Where etcd asks for one. */
  readonly user?: { readonly name: string; readonly password: string };
}

/** Opens the store in this cluster. @throws HostError EINVAL, EACCES, EAGAIN, ETIMEDOUT, or EOPNOTSUPP where it is no etcd 3 */
export async function openEtcdStore(options: EtcdOptions): Promise<EtcdStore> {
  const { namespace = 'plimsoll/', timeoutMs = 3000, ...rest } = options;
  refuseOptions(options);
  const members = new EtcdMembers({ ...rest, timeoutMs, namespace });
  try {
    const call = { operation: 'store.open', target: options.endpoints.join(', '), isRepeatable: true };
    const { version } = StatusAnswer.parse(
      await members.ask(call, async ({ client }, deadline) => await client.maintenance.status({ deadline })),
    );
    if (!version.startsWith('3.'))
      throw new HostError('EOPNOTSUPP', call.operation, call.target, {
        detail: `it is etcd ${version}, and Plimsoll speaks with 3`,
      });
    const store = storeOn(members, namespace);
    // Status is told to anybody: may we use the keys, and do most of the members run?
    await members.ask(call, readRange(rangeOf(namespace, ''), 1));
    return store;
  } catch (error) {
    members.close();
    throw error;
  }
}

function refuseOptions({ endpoints, namespace, timeoutMs = 1 }: EtcdOptions): void {
  const refuse = (target: string, detail: string): never => {
    throw new HostError('EINVAL', 'store.open', target, { detail });
  };
  if (endpoints.length === 0) refuse('etcd', 'name at least one endpoint');
  for (const endpoint of endpoints)
    if (!/^https?:\/\/[^/]+$/.test(endpoint)) refuse(endpoint, 'write an endpoint as http://HOST:PORT');
  if (namespace === '') refuse('namespace', 'name what the keys begin with: all of an etcd is never ours');
  if (!(timeoutMs > 0)) refuse(`timeoutMs ${timeoutMs}`, 'a call takes some time');
}

const Count = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number);
const Header = z.object({ revision: Count });
const StatusAnswer = z.object({ version: z.string() });
const RangeAnswer = z.object({
  kvs: z.array(z.object({ key: z.instanceof(Buffer), value: z.instanceof(Buffer), mod_revision: Count })),
});
const CommitAnswer = z.object({ header: Header, succeeded: z.boolean() });
const Lease = z.string().regex(/^[1-9]\d{0,18}$/);
const GrantAnswer = z.object({ ID: Lease });
const KeepAliveAnswer = z.object({ TTL: z.string() });

function storeOn(members: EtcdMembers, namespace: string): EtcdStore {
  const keyOf = (key: string): Buffer => Buffer.from(`${namespace}${key}`);
  const textOf = (bytes: Buffer, what: string): string => {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (cause) {
      throw new HostError('EIO', 'store.read', what, {
        detail: `it is not text, so not Plimsoll's: keep others out of ${namespace}, or use another namespace`,
        cause,
      });
    }
  };
  const entryOf = ({ key, value, mod_revision }: z.infer<typeof RangeAnswer>['kvs'][number]): StoreEntry => {
    const full = textOf(key, `a key under ${namespace}`);
    if (!full.startsWith(namespace))
      throw new HostError('EIO', 'store.read', full, { detail: `etcd gave a key that is not under ${namespace}` });
    return { key: full.slice(namespace.length), value: textOf(value, full), revision: mod_revision };
  };

  const operations = ({ put = [], remove = [] }: Transaction): IRequestOp[] => [
    ...remove.map((key) => ({ request_delete_range: { key: keyOf(key) } })),
    ...put.map(({ key, value, session }) => ({
      request_put: { key: keyOf(key), value: Buffer.from(value), ...(session !== undefined && { lease: session }) },
    })),
  ];

  return {
    async read(prefix) {
      const call = { operation: 'store.read', target: prefix, isRepeatable: true };
      return (await members.ask(call, readRange(rangeOf(namespace, prefix)))).kvs.map(entryOf);
    },

    async commit(transaction) {
      refuseTwice(transaction);
      const sessions = (transaction.put ?? []).flatMap(({ session }) => (session === undefined ? [] : [session]));
      // Not one of etcd's: what is expected comes first all the same.
      const unknown = sessions.find((session) => !isLease(session));
      const request = {
        compare: (transaction.expect ?? []).map(({ key, revision }) =>
          revision === 0
            ? ({ key: keyOf(key), target: 'Create', result: 'Equal', create_revision: '0' } as const)
            : ({ key: keyOf(key), target: 'Mod', result: 'Equal', mod_revision: String(revision) } as const),
        ),
        success: unknown === undefined ? operations(transaction) : [],
      };
      const call = { operation: 'store.commit', target: `etcd's ${namespace}`, isRepeatable: false };
      const { header, succeeded } = await members.ask(call, async ({ client }, deadline) => {
        try {
          return CommitAnswer.parse(await client.kv.txn(request, { deadline }));
        } catch (error) {
          throw error instanceof EtcdLeaseInvalidError ? sessionEnded([...new Set(sessions)].join(', '), error) : error;
        }
      });
      if (succeeded && unknown !== undefined) throw sessionEnded(unknown);
      return { committed: succeeded, revision: header.revision };
    },

    watch: (prefix, notify, signal) =>
      watchRange(members, { prefix, range: rangeOf(namespace, prefix), notify }, signal),

    async openSession(ttlMs) {
      refuseTtl(ttlMs);
      // One that nobody learned of ends by itself, so that another may be asked for.
      const call = { operation: 'store.openSession', target: `${ttlMs} ms`, isRepeatable: true };
      return await members.ask(
        call,
        async ({ client }, deadline) =>
          GrantAnswer.parse(await client.leaseClient.leaseGrant({ TTL: Math.ceil(ttlMs / 1000) }, { deadline })).ID,
      );
    },

    async renewSession(session) {
      if (!isLease(session)) return false;
      const call = { operation: 'store.renewSession', target: session, isRepeatable: true };
      return await members.ask(call, (member, deadlineMs) => keepAliveOnce(member, session, deadlineMs));
    },

    async endSession(session) {
      if (!isLease(session)) return;
      const call = { operation: 'store.endSession', target: session, isRepeatable: true };
      await members.ask(call, async ({ client }, deadline) => {
        try {
          await client.leaseClient.leaseRevoke({ ID: session }, { deadline });
        } catch (error) {
          if (!(error instanceof EtcdLeaseInvalidError)) throw error;
        }
      });
    },

    close: () => members.close(),
  };
}

const isLease = (session: SessionId): boolean => Lease.safeParse(session).success;

/** All keys that begin so: in UTF-8 no byte is 255, so that the last one can always be counted up. */
function rangeOf(namespace: string, prefix: string): KeyRange {
  const key = Buffer.from(`${namespace}${prefix}`);
  const end = Buffer.from(key);
  end[end.length - 1]!++;
  return { key, range_end: end };
}

const readRange =
  (range: KeyRange, limit = 0) =>
  async ({ client }: Member, deadline: number): Promise<z.infer<typeof RangeAnswer>> =>
    // In order of the keys' bytes, as etcd keeps them.
    RangeAnswer.parse(await client.kv.range({ ...range, limit }, { deadline }));

/** True: it lives. There is no call for it, only a stream. */
async function keepAliveOnce({ client }: Member, lease: string, deadline: number): Promise<boolean> {
  const stream = await client.leaseClient.leaseKeepAlive({ deadline });
  try {
    return await new Promise((resolve, reject) => {
      stream
        .on('data', (data) => {
          const answer = KeepAliveAnswer.safeParse(data);
          if (answer.success) resolve(answer.data.TTL !== '0');
          else reject(answer.error);
        })
        .on('error', (error) => reject(castGrpcError(error)))
        .on('end', () => reject(new GRPCUnavailableError('the stream was ended')));
      stream.write({ ID: lease });
    });
  } finally {
    stream.end();
  }
}
