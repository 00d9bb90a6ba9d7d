import type { KernelLimits, MemoryPolicy, Victim } from './policy.ts';

/** A policy did something that no policy may: it threw, or gave what is no limit, no line or no victim. */
export class PolicyFault extends Error {
  override readonly name = 'PolicyFault';
}

const done = new WeakSet<MemoryPolicy>();

/**
 * The policy with every answer checked, so that a wrong one is told with the policy's name wherever it is asked: by the
 * engine, the supervisor, a replay. One whose `needs` are not said needs working sets. @throws PolicyFault, when called
 */
export function checked(policy: MemoryPolicy): MemoryPolicy {
  if (done.has(policy)) return policy;
  const ask = <T>(what: string, answer: () => T): T => {
    try {
      return answer();
    } catch (cause) {
      throw new PolicyFault(
        `policy ${policy.name}: ${what} throws: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      );
    }
  };
  const checkedPolicy: MemoryPolicy = {
    ...policy,
    needs: policy.needs ?? ['workingSet'],
    limits: (requestBytes, line) =>
      limitsOf(
        policy.name,
        requestBytes.length,
        ask('limits', () => policy.limits(requestBytes, line)),
      ),
    ...(policy.actsAboveBytes && {
      actsAboveBytes: (line) =>
        lineOf(
          policy.name,
          ask('actsAboveBytes', () => policy.actsAboveBytes!(line)),
        ),
    }),
    ...(policy.decide && {
      decide: (snapshot) =>
        victimsOf(
          policy.name,
          ask('decide', () => policy.decide!(snapshot)),
        ),
    }),
  };
  done.add(checkedPolicy);
  return checkedPolicy;
}

const isLimit = (value: unknown): boolean => value === null || (typeof value === 'number' && value >= 0);

function limitsOf(name: string, count: number, limits: KernelLimits | null | undefined): KernelLimits {
  if (!isLimit(limits?.parentBytes))
    throw new PolicyFault(
      `policy ${name}: limits gives ${String(limits?.parentBytes)} as parentBytes: it must be bytes or null`,
    );
  const children: unknown = limits?.childBytes;
  if (!Array.isArray(children) || children.length !== count)
    throw new PolicyFault(`policy ${name}: limits must give childBytes for each of ${count} requests, in their order`);
  const wrong = children.findIndex((bytes) => !isLimit(bytes));
  if (wrong >= 0)
    throw new PolicyFault(
      `policy ${name}: limits gives ${String(children[wrong])} as childBytes[${wrong}]: it must be bytes or null`,
    );
  return limits!;
}

function lineOf(name: string, bytes: unknown): number {
  if (typeof bytes === 'number' && !Number.isNaN(bytes)) return bytes;
  throw new PolicyFault(`policy ${name}: actsAboveBytes gives ${String(bytes)}: it must be a number of bytes`);
}

function victimsOf(name: string, victims: unknown): readonly Victim[] {
  if (!Array.isArray(victims))
    throw new PolicyFault(
      `policy ${name}: decide gives ${victims instanceof Promise ? 'a promise' : String(victims)}: it must give an array of victims, empty for nobody`,
    );
  for (const victim of victims as readonly (Partial<Victim> | null | undefined)[]) {
    if (!Number.isInteger(victim?.index) || typeof victim?.reason !== 'string')
      throw new PolicyFault(
        `policy ${name}: decide gives ${JSON.stringify(victim)} as a victim: it must be { index, reason }`,
      );
  }
  return victims as readonly Victim[];
}
