import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import type { PolicyReference } from '../host/supervision.ts';
import { MIB } from '../host/units.ts';
import { checked } from '../memory/checked.ts';
import { resolveLine } from '../memory/line.ts';
import { policyByName, policyNames } from '../memory/policies.ts';
import type { MemoryPolicy } from '../memory/policy.ts';
import { hint } from '../scenario/nearest.ts';

/** A policy cannot be had: there is none of the name, or the file does not give one. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
}

/** A policy, and how a supervisor in another process finds it again. */
export interface LoadedPolicy {
  readonly policy: MemoryPolicy;
  readonly reference: PolicyReference;
}

const SIGNALS = ['excess', 'workingSet', 'rss', 'priority', 'pressure'] as const;
const isFunction = (value: unknown): boolean => typeof value === 'function';
const functionOr = z.custom<unknown>(isFunction, 'must be a function').optional();

const shape = z.object({
  name: z.string('must be a text').min(1, 'must not be empty'),
  about: z.string().default(''),
  needs: z.array(z.enum(SIGNALS, `must be of ${SIGNALS.join(', ')}`)).default(['workingSet']),
  monotone: z.boolean().optional(),
  limits: z.custom<unknown>(isFunction, 'must be a function (requestBytes, line) => { parentBytes, childBytes }'),
  actsAboveBytes: functionOr,
  decide: functionOr,
});

/** Is it the path of a user's own policy, rather than a name? */
const isPolicyFile = (nameOrPath: string): boolean => /[/\\]|\.[cm]?[jt]s$/.test(nameOrPath);

/** A shipped policy by its name, or a user's own by the path of its file. @throws PolicyError */
export async function loadPolicy(nameOrPath: string): Promise<LoadedPolicy> {
  if (isPolicyFile(nameOrPath)) return loadOwn(nameOrPath);
  const policy = policyByName(nameOrPath);
  if (policy === undefined)
    throw new PolicyError(
      `there is no policy "${nameOrPath}": ${hint(nameOrPath, policyNames)} A file of your own is written ./mine.ts`,
    );
  return { policy, reference: { name: policy.name } };
}

async function loadOwn(path: string): Promise<LoadedPolicy> {
  const file = resolve(path);
  if (!existsSync(file))
    throw new PolicyError(
      `${path}: there is no such file: give a policy's name (${policyNames.join(', ')}) or its path`,
    );
  let loaded: { default?: unknown };
  try {
    loaded = (await import(pathToFileURL(file).href)) as { default?: unknown };
  } catch (cause) {
    throw new PolicyError(`${path}: the policy's file fails as it is loaded: ${messageOf(cause)}`, { cause });
  }
  if (typeof loaded.default !== 'object' || loaded.default === null)
    throw new PolicyError(
      `${path}: has no policy as its default export: write export default { name, limits, decide }`,
    );
  const parsed = shape.safeParse(loaded.default);
  if (!parsed.success) throw new PolicyError(`${path}: ${told(parsed.error)}`, { cause: parsed.error });
  const given = loaded.default as MemoryPolicy;
  const { name, about, needs, monotone } = parsed.data;
  const policy = checked({
    name,
    about,
    needs,
    ...(monotone !== undefined && { monotone }),
    limits: (requestBytes, line) => given.limits(requestBytes, line),
    ...(given.actsAboveBytes && { actsAboveBytes: (line) => given.actsAboveBytes!(line) }),
    ...(given.decide && { decide: (snapshot) => given.decide!(snapshot) }),
  });
  tryOut(path, policy);
  return { policy, reference: { name, file } };
}

/** Asks for limits once, so that a wrong shape is told here and not by a supervisor later. */
function tryOut(path: string, policy: MemoryPolicy): void {
  const line = resolveLine({ hardLimitBytes: (64 * MIB) as never }, 2 ** 40);
  try {
    policy.limits([MIB, 2 * MIB], line);
    policy.actsAboveBytes?.(line);
  } catch (cause) {
    throw new PolicyError(`${path}: ${messageOf(cause)}`, { cause });
  }
}

const told = ({ issues: [issue] }: z.ZodError): string =>
  `${issue!.path.map(String).join('.') || 'it'} ${issue!.message}`.replaceAll(/\s+/g, ' ');
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
