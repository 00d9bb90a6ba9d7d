import { EgressError } from '../egress/desired.ts';
import { HostError } from '../host/errors.ts';
import { AddressError } from '../host/ipv4.ts';
import { UnitError } from '../host/units.ts';
import { PolicyFault } from '../memory/checked.ts';
import { MemoryError } from '../memory/line.ts';
import { NetworkError } from '../network/desired.ts';
import { ScenarioError } from '../scenario/errors.ts';
import { Interrupted } from '../scenario/run.ts';
import { TraceError } from '../traces/errors.ts';
import { ReplayError } from '../tuning/errors.ts';
import { PolicyError } from './policy.ts';

/** How a command ended, for scripts. */
export const EXIT = { held: 0, failed: 1, badInput: 2, hostLacks: 3, interrupted: 130 } as const;

/** The command line asks for something that there is not. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const BAD_INPUT = [
  UsageError,
  ScenarioError,
  TraceError,
  PolicyError,
  PolicyFault,
  ReplayError,
  MemoryError,
  UnitError,
  NetworkError,
  EgressError,
  AddressError,
] as const;

/** What to print of an error, and the exit code. Only what nobody foresaw has a stack, and that only for those who ask. */
export function told(error: unknown, environment: NodeJS.ProcessEnv = process.env): { text: string; code: number } {
  const debugging = (environment['PLIMSOLL_DEBUG'] ?? '') !== '';
  const trace = debugging && error instanceof Error ? `${error.stack}\n${causesOf(error)}` : '';
  if (error instanceof Interrupted)
    return { text: `plimsoll: ${error.message}; everything it made is gone\n`, code: EXIT.interrupted };
  if (BAD_INPUT.some((kind) => error instanceof kind || (error instanceof Error && error.cause instanceof kind)))
    return { text: `plimsoll: ${messageOf(error)}\n${trace}`, code: EXIT.badInput };
  if (error instanceof HostError || (error instanceof Error && error.cause instanceof HostError))
    return { text: `plimsoll: ${firstLine(error)}\n${trace}`, code: EXIT.hostLacks };
  const hint = debugging ? '' : '; set PLIMSOLL_DEBUG=1 to see where';
  return { text: `plimsoll: failed unexpectedly: ${firstLine(error)}${hint}\n${trace}`, code: EXIT.failed };
}

/** Prints an error as a command does, and sets the exit code. */
export function fail(error: unknown): void {
  const { text, code } = told(error);
  process.stderr.write(text);
  process.exitCode = code;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const firstLine = (error: unknown): string => messageOf(error).split('\n')[0]!;

function causesOf(error: Error): string {
  const { cause } = error;
  return cause instanceof Error ? `caused by: ${cause.stack}\n${causesOf(cause)}` : '';
}
