import { samePlainData } from '../host/same.ts';
import type { Store, Transaction } from '../host/store.ts';
import type { MemoryDesired } from '../memory/desired.ts';
import type { Desired, DesiredContainer } from './desired.ts';

/** What the store holds: what was asked, and which of the asked containers have come to their end. */
export interface Asked {
  /** Null: nothing is asked of this host. */
  readonly desired: Desired | null;
  readonly ended: ReadonlySet<string>;
}

const MEMORY = 'memory';
const CONTAINER = 'containers/';
const ENDED = 'ended/';

/** Reads what was asked of this host, by whichever engine. */
export async function readAsked(store: Store): Promise<Asked> {
  const memory = (await store.read(MEMORY)).find(({ key }) => key === MEMORY);
  const containers = await store.read(CONTAINER);
  const ended = new Set((await store.read(ENDED)).map(({ key }) => key.slice(ENDED.length)));
  if (memory === undefined) return { desired: null, ended };
  return {
    desired: {
      memory: JSON.parse(memory.value) as MemoryDesired,
      containers: containers.map(({ value }) => JSON.parse(value) as DesiredContainer),
    },
    ended,
  };
}

/** The transaction that makes `to` what is asked: only what differs is written; ends of containers no longer asked for are forgotten. */
export function changeOf(from: Asked, to: Desired | null): Transaction {
  const before = new Map(from.desired?.containers.map((container) => [container.name, container]));
  const after = new Map(to?.containers.map((container) => [container.name, container]));
  return {
    put: [
      ...(to !== null && !samePlainData(from.desired?.memory, to.memory)
        ? [{ key: MEMORY, value: JSON.stringify(to.memory) }]
        : []),
      ...[...after.values()]
        .filter((container) => !samePlainData(before.get(container.name), container))
        .map((container) => ({ key: `${CONTAINER}${container.name}`, value: JSON.stringify(container) })),
    ],
    remove: [
      ...(to === null && from.desired !== null ? [MEMORY] : []),
      ...[...before.keys()].filter((name) => !after.has(name)).map((name) => `${CONTAINER}${name}`),
      ...[...from.ended].filter((name) => !after.has(name)).map((name) => `${ENDED}${name}`),
    ],
  };
}

/** The transaction that says these containers have ended. */
export const endingOf = (names: readonly string[]): Transaction => ({
  put: names.map((name) => ({ key: `${ENDED}${name}`, value: '{}' })),
});
