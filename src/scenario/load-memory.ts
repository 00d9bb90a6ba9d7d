import type { PolicyReference } from '../host/supervision.ts';
import { type Bytes, formatBytes, GIB, type Milliseconds } from '../host/units.ts';
import { type Checking, own } from './checking.ts';
import { hint } from './nearest.ts';
import { isFile, policyNameOf } from './policy.ts';
import type { MemoryDesired } from './scenario.ts';
import type { MemoryWritten } from './schema.ts';
import type { Path } from './source.ts';

/** Of a machine that nobody described. */
const DEFAULT_RAM_BYTES = (16 * GIB) as Bytes;

export const ramBytesOf = ({ rules, written }: Checking, host: string): Bytes =>
  (rules.machineRamBytes ?? own(written.hosts, host)?.ram ?? DEFAULT_RAM_BYTES) as Bytes;

/** What is written of a host's memory at the beginning: its own settings over those of all. */
export const memoryWrittenOf = ({ written }: Checking, host: string): MemoryWritten => ({
  ...written.memory,
  ...own(written.hosts, host)?.memory,
});

/** `places`: where the settings may stand, nearest first, for the line of a problem. */
export function memoryOf(
  checking: Checking,
  written: MemoryWritten,
  ramBytes: Bytes,
  places: readonly Path[],
): MemoryDesired {
  const place = (setting: string): Path =>
    places.map((path) => [...path, setting]).find((path) => checking.isWritten(path)) ??
    places.find((path) => checking.isWritten(path)) ??
    [];
  const rest = { policy: policyOf(checking, written.policy, place('policy')), dry: written.dry ?? false };
  if (written.hardLimit === undefined) {
    checking.problem(
      place('hardLimit'),
      'memory.hardLimit is missing: write how much all containers share, hardLimit: 200Mi',
    );
    return { ...rest, line: NO_LINE };
  }
  const { hardLimit, killAt, stopAt, ceiling, lookEvery } = written;
  try {
    const asked = { hardLimitBytes: hardLimit, killAt, stopAt, ceiling, lookEveryMs: lookEvery };
    return { ...rest, line: checking.rules.resolveLine(asked, ramBytes) };
  } catch (error) {
    if (!(error instanceof Error && 'setting' in error)) throw error;
    checking.problem(place(String(error.setting).replace(/(?:Bytes|Ms)$/, '')), error.message);
    return { ...rest, line: NO_LINE };
  }
}

function policyOf(checking: Checking, written: string | undefined, path: Path): PolicyReference {
  const { policies } = checking.rules;
  const policy = written ?? policies[0]!;
  if (isFile(policy)) return { name: policyNameOf(policy), file: policy };
  if (!policies.includes(policy))
    checking.problem(
      path,
      `there is no policy "${policy}": ${hint(policy, policies)} A file of your own is written ./mine.ts`,
    );
  return { name: policy };
}

export function checkRequest(checking: Checking, requestBytes: number, host: string, path: Path): void {
  const ramBytes = ramBytesOf(checking, host);
  if (requestBytes > ramBytes)
    checking.problem(
      path,
      `a request of ${formatBytes(requestBytes)} is more than its host's RAM of ${formatBytes(ramBytes)}: lower it`,
    );
}

/** Is this the name of a file that the scenario gives as a policy? */
export function isPolicyOfOwn({ written }: Checking, name: string): boolean {
  const { memory, hosts = {}, timeline } = written;
  return [
    memory,
    ...Object.values(hosts).map((host) => host.memory),
    ...timeline.map(({ do: what }) => (what === 'end' ? undefined : what.memory)),
  ]
    .map((settings) => settings?.policy)
    .some((policy) => policy !== undefined && isFile(policy) && policyNameOf(policy) === name);
}

/** Stands in where a problem was told: the scenario is thrown away. */
const NO_LINE: MemoryDesired['line'] = {
  hardLimitBytes: 0 as Bytes,
  killAtBytes: 0 as Bytes,
  stopAtBytes: 0 as Bytes,
  ceilingBytes: 0 as Bytes,
  lookEveryMs: 0 as Milliseconds,
};
