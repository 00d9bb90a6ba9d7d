import { z } from 'zod';
import type { Observation, RunHeader } from '../engine/observation.ts';
import { type Problem, ScenarioError } from './errors.ts';
import { BACKENDS } from './scenario.ts';

/** What this reader understands. */
const VERSION = 1;

/** A recording as it was read. */
export interface Recording {
  readonly header: RunHeader;
  readonly observations: readonly Observation[];
  /** The run was cut off: there is no end, or the last line is torn. The rest stands. */
  readonly cut?: Problem;
}

/** One line of a recording, its newline included. */
export const recordingLine = (line: RunHeader | Observation): string => `${JSON.stringify(line)}\n`;

const at = { atMs: z.number(), host: z.string().optional() };
const bytes = z.number();

const header = z.object({
  kind: z.literal('run'),
  version: z.number(),
  title: z.string(),
  backend: z.enum(BACKENDS),
  policy: z.string(),
  seed: z.number(),
  commit: z.string(),
  scenario: z.unknown().optional(),
  hosts: z.array(z.string()),
});

/** Keys that a later writer of this version may add are kept, and mean nothing here. */
const observation = z.discriminatedUnion('kind', [
  z.looseObject({
    kind: z.literal('step'),
    ...at,
    verb: z.string(),
    target: z.string(),
    why: z.string(),
    error: z.string().optional(),
  }),
  z.looseObject({ kind: z.literal('start'), ...at, container: z.string(), requestBytes: bytes }),
  z.looseObject({ kind: z.literal('request'), ...at, container: z.string(), requestBytes: bytes }),
  z.looseObject({
    kind: z.literal('death'),
    ...at,
    container: z.string(),
    cause: z.enum(['supervisor', 'kernel', 'stopped', 'exit']),
  }),
  z.looseObject({
    kind: z.literal('line'),
    ...at,
    policy: z.string(),
    hardLimitBytes: bytes,
    killAtBytes: bytes,
    stopAtBytes: bytes,
    ceilingBytes: bytes,
    lookEveryMs: z.number(),
  }),
  z.looseObject({
    kind: z.literal('note'),
    ...at,
    about: z.enum(['crash', 'recovery', 'timeline', 'invariant', 'drift']),
    message: z.string(),
  }),
  z.looseObject({ kind: z.literal('look'), ...at, totalBytes: bytes }),
  z.looseObject({ kind: z.literal('sample'), ...at, totalBytes: bytes, workingSetBytes: z.record(z.string(), bytes) }),
  z.looseObject({
    kind: z.literal('decision'),
    ...at,
    container: z.string(),
    totalBytes: bytes,
    workingSetBytes: bytes,
    requestBytes: bytes,
    reason: z.string(),
    outcome: z.enum(['killed', 'dry', 'failed']),
    error: z.string().optional(),
  }),
  z.looseObject({ kind: z.literal('passedOver'), ...at, container: z.string(), heldBytes: bytes }),
  z.looseObject({ kind: z.literal('trouble'), ...at, message: z.string() }),
  z.looseObject({ kind: z.literal('end'), ...at }),
]);

/** Is this the first line of a recording, whatever comes after? */
export function isRecording(firstLine: string): boolean {
  try {
    return header.safeParse(JSON.parse(firstLine)).success;
  } catch {
    return false;
  }
}

/** Reads a recording from its lines. A torn last line is told in `cut`; anything else wrong throws. @throws ScenarioError */
export async function readRecording(lines: AsyncIterable<string> | Iterable<string>, file: string): Promise<Recording> {
  const observations: Observation[] = [];
  let first: RunHeader | undefined;
  let number = 0;
  let torn: Problem | undefined;
  for await (const line of lines) {
    number++;
    if (torn !== undefined) throw new ScenarioError(file, [torn]);
    if (line.trim() === '') continue;
    let data: unknown;
    try {
      data = JSON.parse(line);
    } catch {
      torn = { line: number, message: 'not a line of a recording: it is no JSON; record the run again' };
      continue;
    }
    if (first === undefined) first = readHeader(data, file, number);
    else observations.push(readObservation(data, file, number));
  }
  if (first === undefined)
    throw new ScenarioError(file, [
      torn ?? { message: 'the file is empty: a recording begins with a line that says what ran' },
    ]);
  const cut =
    torn !== undefined
      ? { line: number, message: 'the last line is torn: the run was cut off' }
      : observations.at(-1)?.kind === 'end'
        ? undefined
        : { line: number, message: 'there is no end: the run was cut off' };
  return { header: first, observations, ...(cut && { cut }) };
}

function readHeader(data: unknown, file: string, line: number): RunHeader {
  const version = typeof data === 'object' && data !== null && 'version' in data ? data.version : undefined;
  if (typeof version === 'number' && version > VERSION)
    throw new ScenarioError(file, [
      {
        line,
        message: `a recording of version ${version}, newer than this Plimsoll, which reads ${VERSION}: update Plimsoll`,
      },
    ]);
  const result = header.safeParse(data);
  if (!result.success)
    throw new ScenarioError(file, [{ line, message: `not the first line of a recording: ${about(result.error)}` }]);
  return result.data as RunHeader;
}

function readObservation(data: unknown, file: string, line: number): Observation {
  const result = observation.safeParse(data);
  if (!result.success)
    throw new ScenarioError(file, [{ line, message: `not a line of a recording: ${about(result.error)}` }]);
  return result.data as Observation;
}

const about = ({ issues: [issue] }: z.ZodError): string =>
  `${issue!.path.map(String).join('.') || 'it'}: ${issue!.message}`;
