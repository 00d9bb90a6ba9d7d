import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type EtcdStore, openEtcdStore } from '../../backends/store/etcd.ts';
import type { HostError } from '../../src/host/errors.ts';
import type { Commit, Store, Transaction } from '../../src/host/store.ts';
import { type EtcdServer, startEtcd, whyNoEtcd } from './etcd-server.ts';

const TIMEOUT_MS = 2000;
/** How much longer than its limit a call may be seen to take, on a busy machine. */
const SLACK_MS = 1000;

let server: EtcdServer;
let store: EtcdStore;

const begin = async (count: 1 | 3): Promise<void> => {
  server = await startEtcd(count);
  store = await openEtcdStore({ endpoints: server.endpoints, timeoutMs: TIMEOUT_MS });
};
const end = async (): Promise<void> => {
  store.close();
  await server.close();
};

/** The error of a call that must fail, and within its time. */
async function failure(act: () => Promise<unknown>): Promise<HostError> {
  const beganMs = performance.now();
  const error = await act().then(
    () => expect.fail('it succeeded'),
    (error: unknown) => error as HostError,
  );
  expect(performance.now() - beganMs).toBeLessThan(TIMEOUT_MS + SLACK_MS);
  expect(error.name).toBe('HostError');
  return error;
}

/** As a caller does it: reads after every failure, and tries again only what is not done. */
async function commitSurely(
  handle: Store,
  transaction: Transaction,
  isDone: () => Promise<boolean>,
): Promise<Commit | null> {
  for (let tries = 0; ; tries++) {
    try {
      return await handle.commit(transaction);
    } catch (error) {
      if (tries > 10) throw error;
      if (await isDone().catch(() => false)) return null;
    }
  }
}

const until = async (predicate: () => boolean | Promise<boolean>, what: string): Promise<void> => {
  for (const limitMs = performance.now() + 20_000; !(await predicate()); await sleep(20))
    if (performance.now() > limitMs) throw new Error(`waited 20 s for ${what}`);
};

const reason = whyNoEtcd();
if (reason !== null) process.stdout.write(`skipped: failures of etcd: ${reason}\n`);

describe.skipIf(reason !== null)('three members', () => {
  beforeEach(() => begin(3));
  afterEach(end);

  test('the leader is killed: what was committed is there, commits, sessions and watches go on', async () => {
    const abort = new AbortController();
    let calls = 0;
    await store.watch('', () => void calls++, abort.signal);
    const session = await store.openSession(4000);
    const renewals: boolean[] = [];
    const renewing = (async () => {
      while (!abort.signal.aborted) {
        // No answer is no end: it is asked again.
        renewals.push(await store.renewSession(session).catch(() => true));
        await sleep(200);
      }
    })();
    await store.commit({
      put: [
        { key: 'before', value: '1' },
        { key: 'mine', value: '1', session },
      ],
    });
    await until(() => calls > 0, 'the first put');

    await (await server.leader()).kill();
    const read = async (key: string): Promise<string | undefined> => (await store.read(key))[0]?.value;
    await until(async () => (await read('before').catch(() => null)) === '1', 'what was committed');
    calls = 0;
    await commitSurely(store, { put: [{ key: 'after', value: '1' }] }, async () => (await read('after')) === '1');
    await until(() => calls > 0, 'a call for the put after the loss');
    await sleep(5000);
    expect(await read('mine')).toBe('1');
    expect(renewals).not.toContain(false);
    abort.abort();
    await renewing;
    await until(async () => (await read('mine')) === undefined, 'the end of a session that is renewed no more');
  });

  test('two of three dead: an error in bounded time that says what to do; with one back it works again', async () => {
    await store.commit({ put: [{ key: 'a', value: '1' }] });
    const abort = new AbortController();
    let calls = 0;
    await store.watch('', () => void calls++, abort.signal);
    const [first, second] = server.members;
    await Promise.all([first!.kill(), second!.kill()]);

    for (const act of [
      () => store.read(''),
      () => store.commit({ put: [{ key: 'a', value: '2' }] }),
      () => store.openSession(1000),
    ]) {
      const error = await failure(act);
      expect(['EAGAIN', 'ETIMEDOUT']).toContain(error.code);
      for (const endpoint of server.endpoints) expect(error.message).toContain(endpoint);
      expect(error.message).toContain('see that most of its members run');
    }

    await second!.start();
    await until(async () => (await store.read('a').catch(() => [])).length === 1, 'service to come back');
    calls = 0;
    await commitSurely(
      store,
      { put: [{ key: 'a', value: '3' }] },
      async () => (await store.read('a'))[0]?.value === '3',
    );
    await until(() => calls > 0, 'the watch to go on');
    abort.abort();
  });

  test('a member that hangs is passed over, by watches too', async () => {
    const alone = await openEtcdStore({ endpoints: server.endpoints, timeoutMs: TIMEOUT_MS });
    const abort = new AbortController();
    let calls = 0;
    await alone.watch('', () => void calls++, abort.signal);
    // The first endpoint is the one that was asked first, and answered.
    server.members[0]!.signal('SIGSTOP');
    await until(async () => (await alone.read('').catch(() => null)) !== null, 'another member to answer');
    calls = 0;
    await commitSurely(
      store,
      { put: [{ key: 'a', value: '1' }] },
      async () => (await store.read('a'))[0]?.value === '1',
    );
    await until(() => calls > 0, 'the watch to go on at another member');
    abort.abort();
    alone.close();
  });
});

describe.skipIf(reason !== null)('one member', () => {
  beforeEach(() => begin(1));
  afterEach(end);

  test('etcd that hangs holds nobody up beyond the limit, and what may have taken effect is called so', async () => {
    const session = await store.openSession(60_000);
    const abort = new AbortController();
    let calls = 0;
    await store.watch('', () => void calls++, abort.signal);
    server.members[0]!.signal('SIGSTOP');

    const commit = await failure(() => store.commit({ put: [{ key: 'a', value: '1' }] }));
    expect(commit).toMatchObject({ code: 'ETIMEDOUT', operation: 'store.commit' });
    expect(commit.message).toMatch(/may have taken effect: read before/);
    const acts: Readonly<Record<string, () => Promise<unknown>>> = {
      read: () => store.read('a'),
      watch: () => store.watch('a', () => undefined, abort.signal),
      openSession: () => store.openSession(1000),
      renewSession: () => store.renewSession(session),
      endSession: () => store.endSession(session),
      open: () => openEtcdStore({ endpoints: server.endpoints, timeoutMs: TIMEOUT_MS }),
    };
    for (const [verb, act] of Object.entries(acts)) {
      const error = await failure(act);
      expect(error.operation).toBe(`store.${verb}`);
      expect(['EAGAIN', 'ETIMEDOUT']).toContain(error.code);
      expect(error.message).not.toContain('may have taken effect');
    }

    server.members[0]!.signal('SIGCONT');
    await until(async () => (await store.read('').catch(() => null)) !== null, 'service to come back');
    await sleep(1000);
    calls = 0;
    await store.commit({ put: [{ key: 'b', value: '1' }] });
    await until(() => calls > 0, 'the watch to go on');
    abort.abort();
  });

  test('etcd that is down is named, at the first call and later; back again, it serves', async () => {
    await store.commit({ put: [{ key: 'a', value: '1' }] });
    await server.members[0]!.kill();
    for (const act of [
      () => store.commit({ put: [{ key: 'a', value: '2' }] }),
      () => openEtcdStore({ endpoints: server.endpoints, timeoutMs: TIMEOUT_MS }),
    ]) {
      const error = await failure(act);
      // A connection that is refused is tried again until the time is over: whichever is told.
      expect(error.code).toMatch(/^(?:EAGAIN|ETIMEDOUT)$/);
      expect(error.message).toContain(`etcd at ${server.endpoints[0]} within 2 s`);
    }
    await server.members[0]!.start();
    await until(async () => (await store.read('a').catch(() => [])).length === 1, 'service to come back');
    expect(await store.read('a')).toMatchObject([{ value: '1' }]);
  });

  test('what etcd refuses is told with a remedy', async () => {
    const many = Array.from({ length: 129 }, (_, index) => ({ key: `k/${index}`, value: '' }));
    await expect(store.commit({ put: many })).rejects.toThrow(
      expect.objectContaining({ code: 'EMSGSIZE', message: expect.stringContaining('--max-txn-ops') }),
    );
    // Its own limit is 1.5 MiB, that of its gRPC half a MiB more: each says so in its own words.
    for (const size of [1_700_000, 3_000_000])
      await expect(store.commit({ put: [{ key: 'a', value: 'x'.repeat(size) }] })).rejects.toThrow(
        expect.objectContaining({ code: 'EMSGSIZE', message: expect.stringContaining('--max-request-bytes') }),
      );
    expect(await store.read('')).toEqual([]);
  });

  test("a value that is not text is not ours, and other namespaces' keys are not seen", async () => {
    const other = await openEtcdStore({ endpoints: server.endpoints, namespace: 'plimsoll0' });
    await other.commit({ put: [{ key: 'a', value: '1' }] });
    expect(await store.read('')).toEqual([]);
    await gateway('kv/put', { key: base64('plimsoll/a'), value: Buffer.from([0xff]).toString('base64') });
    await expect(store.read('')).rejects.toThrow(
      expect.objectContaining({ code: 'EIO', message: expect.stringContaining('plimsoll/a: it is not text') }),
    );
    other.close();
  });

  test('etcd that asks who we are: EACCES without a name or with a wrong password, and service with the right one', async () => {
    await gateway('auth/user/add', { name: 'root', password: 'secret' });
    await gateway('auth/role/add', { name: 'root' });
    await gateway('auth/user/grant', { user: 'root', role: 'root' });
    await gateway('auth/user/add', { name: 'plimsoll', password: 'line' });
    await gateway('auth/role/add', { name: 'store' });
    const keys = { key: base64('plimsoll/'), range_end: base64('plimsoll0') };
    await gateway('auth/role/grant', { name: 'store', perm: { permType: 'READWRITE', ...keys } });
    await gateway('auth/user/grant', { user: 'plimsoll', role: 'store' });
    await gateway('auth/enable', {});
    const { endpoints } = server;
    await expect(store.read('')).rejects.toThrow(expect.objectContaining({ code: 'EACCES' }));
    await expect(openEtcdStore({ endpoints })).rejects.toThrow(expect.objectContaining({ code: 'EACCES' }));
    await expect(openEtcdStore({ endpoints, user: { name: 'root', password: 'wrong' } })).rejects.toThrow(
      expect.objectContaining({ code: 'EACCES', message: expect.stringContaining('give the name and password') }),
    );
    // Who may use the store's keys and no others.
    const user = { name: 'plimsoll', password: 'line' };
    const known = await openEtcdStore({ endpoints, user });
    let calls = 0;
    await known.watch('', () => void calls++, new AbortController().signal);
    const session = await known.openSession(5000);
    expect((await known.commit({ put: [{ key: 'a', value: '1', session }] })).committed).toBe(true);
    expect(await known.renewSession(session)).toBe(true);
    await until(() => calls > 0, 'the put');
    known.close();
    const elsewhere = openEtcdStore({ endpoints, user, namespace: 'theirs/' });
    await expect(elsewhere).rejects.toThrow(expect.objectContaining({ code: 'EACCES' }));
  });

  test('a process ends by itself once its store is closed, with a watch and a session that lived', async () => {
    const program = `
      import { openEtcdStore } from ${JSON.stringify(new URL('../../backends/store/etcd.ts', import.meta.url).href)};
      const store = await openEtcdStore({ endpoints: ${JSON.stringify(server.endpoints)} });
      await store.watch('', () => undefined, new AbortController().signal);
      await store.openSession(60_000);
      await store.read('');
      store.close();
      store.close();
      const closedMs = performance.now();
      process.on('exit', () => console.log(performance.now() - closedMs));`;
    const child = await execa(process.execPath, ['--input-type=module', '--eval', program]);
    expect(Number(child.stdout)).toBeLessThan(500);
    expect(child.stderr).toBe('');
  });
});

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** Another way than the store's to speak with etcd. */
async function gateway(what: string, body: object): Promise<void> {
  const response = await fetch(`${server.endpoints[0]}/v3/${what}`, { method: 'POST', body: JSON.stringify(body) });
  expect({ status: response.status, said: await response.text() }).toMatchObject({ status: 200 });
}
