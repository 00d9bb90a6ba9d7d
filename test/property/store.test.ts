import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EventQueue } from '../../backends/sim/events.ts';
import { createStore } from '../../backends/sim/store.ts';
import { openSqliteStore } from '../../backends/store/sqlite.ts';
import { HostError } from '../../src/host/errors.ts';
import type { Commit, SessionId, Store } from '../../src/host/store.ts';
import { Reach, runs } from './reach.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'plimsoll-store-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const KEYS = ['a', 'a/1', 'a/2', 'b'] as const;
const PREFIXES = ['', 'a/', 'b'] as const;

/** By how many were opened after it: each store has ids of its own. Mostly the latest, which is most likely to live. */
const session = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) });
const commit = fc.record({
  do: fc.constant('commit' as const),
  expect: fc.array(
    fc.record({ key: fc.constantFrom(...KEYS), as: fc.constantFrom('it is', 'it is', 'it is', 'it was', 'absent') }),
    { maxLength: 2 },
  ),
  put: fc.uniqueArray(
    fc.record({ key: fc.constantFrom(...KEYS), session: fc.option(session, { nil: undefined, freq: 3 }) }),
    { maxLength: 3, selector: ({ key }) => key },
  ),
  // Now and then a key that is put, too: refused.
  remove: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.constantFrom(...KEYS).map((key) => [key]) },
  ),
});
const open = fc.record({ do: fc.constant('open' as const), ttlMs: fc.constantFrom(10, 20, 50) });
const action = fc.oneof(
  { weight: 6, arbitrary: commit },
  { weight: 2, arbitrary: open },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('renew' as const), session }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end' as const), session }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('wait' as const), delayMs: fc.constantFrom(0, 5, 10, 25) }),
  },
);
const actions = fc
  .tuple(open, fc.array(action, { minLength: 5, maxLength: 25 }))
  .map(([first, others]): Action[] => [first, ...others]);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

/** One store of the two, with its own time. */
interface Side {
  readonly store: Store;
  readonly pass: (delayMs: number) => Promise<void>;
  readonly sessions: SessionId[];
  readonly called: Set<string>;
}

async function sim(): Promise<Side> {
  const events = new EventQueue();
  return await watched(createStore(events), async (delayMs) => {
    const there = events.at(events.nowMs + delayMs, () => undefined);
    for (let event = events.take(); event !== there; event = events.take()) event!.run();
    // Those calls of watches that came of it have been scheduled behind it.
    const behind = events.at(events.nowMs, () => undefined);
    for (let event = events.take(); event !== behind; event = events.take()) event!.run();
  });
}

async function sqlite(file: string): Promise<Side & { close: () => void }> {
  let nowMs = 1000;
  const store = openSqliteStore(file, { monotonicMs: () => nowMs });
  const side = await watched(store, async (delayMs) => {
    nowMs += delayMs;
    await setImmediate();
    await setImmediate();
  });
  return { ...side, close: () => store.close() };
}

async function watched(store: Store, pass: Side['pass']): Promise<Side> {
  const called = new Set<string>();
  const never = new AbortController().signal;
  for (const prefix of PREFIXES) await store.watch(prefix, () => void called.add(prefix), never);
  return { store, pass, called, sessions: [] };
}

/** What a store answered to an action, in the same words whichever it was. */
async function answer(side: Side, act: Action, past: ReadonlyMap<string, number>): Promise<unknown> {
  const { store, sessions } = side;
  const idOf = (index: number): SessionId => sessions.at(-1 - index) ?? 'none';
  switch (act.do) {
    case 'commit': {
      const now = new Map((await store.read('')).map(({ key, revision }) => [key, revision]));
      const { put, remove, expect } = act;
      const transaction = {
        expect: expect.map(({ key, as }) => ({
          key,
          revision: as === 'absent' ? 0 : ((as === 'it is' ? now : past).get(key) ?? 0),
        })),
        put: put.map(({ key, session }, index) => ({
          key,
          value: String(index),
          ...(session !== undefined && { session: idOf(session) }),
        })),
        remove,
      };
      return await store.commit(transaction).catch((error: unknown) => {
        if (error instanceof HostError) return error.code;
        throw error;
      });
    }
    case 'open':
      sessions.push(await store.openSession(act.ttlMs));
      return null;
    case 'renew':
      return await store.renewSession(idOf(act.session));
    case 'end':
      return await store.endSession(idOf(act.session));
    case 'wait':
      return await side.pass(act.delayMs);
  }
}

test('the simulated store and the one in a file answer alike, and call alike', { timeout: 300_000 }, async () => {
  const reach = new Reach([
    'a session was over',
    'an expectation failed',
    'a put of a session overwritten',
    'a commit in a session that ended',
    'a session renewed',
    'a watch called by time',
    'a watch not called',
  ]);
  let count = 0;
  await fc.assert(
    fc.asyncProperty(actions, async (actions) => {
      const met = new Set<string>();
      const [left, right] = [await sim(), await sqlite(path.join(folder, `${count++}.db`))];
      const sides = [left, right] as const;
      try {
        const past = new Map<string, number>();
        const inSession = new Set<string>();
        for (const act of actions) {
          const before = await left.store.read('');
          const answers = [await answer(left, act, past), await answer(right, act, past)];
          expect({ act, told: answers[1] }).toEqual({ act, told: answers[0] });
          const reads = [await left.store.read(''), await right.store.read('')];
          expect({ act, read: reads[1] }).toEqual({ act, read: reads[0] });
          for (const side of sides) await side.pass(0);
          expect({ act, called: right.called }).toEqual({ act, called: left.called });
          for (const name of metBy(act, answers[0], { before, after: reads[0]!, called: left.called, inSession }))
            met.add(name);
          for (const side of sides) side.called.clear();
          for (const { key, revision } of before) past.set(key, revision);
        }
      } finally {
        right.close();
      }
      reach.add(met);
    }),
    runs(2000),
  );
  reach.demand();
});

interface Around {
  readonly before: Awaited<ReturnType<Store['read']>>;
  readonly after: Awaited<ReturnType<Store['read']>>;
  readonly called: ReadonlySet<string>;
  /** Keys whose last put was in a session. */
  readonly inSession: Set<string>;
}

function metBy(act: Action, told: unknown, { before, after, called, inSession }: Around): string[] {
  const met: string[] = [];
  if (act.do === 'wait' && after.length < before.length) met.push('a session was over');
  if (act.do === 'wait' && called.size > 0) met.push('a watch called by time');
  if (called.size < PREFIXES.length) met.push('a watch not called');
  if (act.do === 'renew' && told === true) met.push('a session renewed');
  if (told === 'ESRCH') met.push('a commit in a session that ended');
  if (act.do !== 'commit' || typeof told !== 'object' || told === null) return met;
  if (!(told as Commit).committed) return [...met, 'an expectation failed'];
  for (const { key, session } of act.put) {
    const isThere = before.some((entry) => entry.key === key);
    if (isThere && inSession.has(key) && session === undefined) met.push('a put of a session overwritten');
    if (session === undefined) inSession.delete(key);
    else inSession.add(key);
  }
  return met;
}
