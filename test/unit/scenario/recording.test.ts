import { describe, expect, test } from 'vitest';
import type { Observation, RunHeader } from '../../../src/engine/observation.ts';
import { isRecording, readRecording, recordingLine } from '../../../src/scenario/recording.ts';

const HEADER: RunHeader = {
  kind: 'run',
  version: 1,
  title: 't',
  backend: 'sim',
  policy: 'gaia',
  seed: 1,
  commit: 'c',
  hosts: ['host'],
};
const OBSERVATIONS: Observation[] = [
  { kind: 'start', atMs: 0, container: 'web', requestBytes: 1, priority: 0 },
  { kind: 'sample', atMs: 1000, totalBytes: 5, workingSetBytes: { web: 5 } },
  { kind: 'death', atMs: 2000, container: 'web', cause: 'exit', host: 'host' },
  { kind: 'end', atMs: 3000 },
];
const LINES = [HEADER, ...OBSERVATIONS].map((each) => recordingLine(each).trimEnd());

describe('a recording', () => {
  test('is read as it was written', async () => {
    expect(await readRecording(LINES, 'r')).toEqual({ header: HEADER, observations: OBSERVATIONS });
    expect(isRecording(LINES[0]!)).toBe(true);
    expect(isRecording(LINES[1]!)).toBe(false);
    expect(isRecording('time,cpu')).toBe(false);
  });

  test('a torn last line is told, and the rest stands', async () => {
    const torn = [...LINES.slice(0, -1), LINES.at(-1)!.slice(0, 10)];
    const read = await readRecording(torn, 'r');
    expect(read.observations).toEqual(OBSERVATIONS.slice(0, -1));
    expect(read.cut).toEqual({ line: 5, message: 'the last line is torn: the run was cut off' });
  });

  test('one without an end is told', async () => {
    expect((await readRecording(LINES.slice(0, -1), 'r')).cut).toEqual({
      line: 4,
      message: 'there is no end: the run was cut off',
    });
  });

  test.each([
    ['empty', [], 'r: the file is empty: a recording begins with a line that says what ran'],
    [
      'of a newer version',
      [LINES[0]!.replace('"version":1', '"version":2'), ...LINES.slice(1)],
      'r:1: a recording of version 2, newer than this Plimsoll, which reads 1: update Plimsoll',
    ],
    ['without a header', LINES.slice(1), 'r:1: not the first line of a recording'],
    [
      'torn in the middle',
      [LINES[0]!, LINES[1]!.slice(0, 9), ...LINES.slice(2)],
      'r:2: not a line of a recording: it is no JSON',
    ],
    ['with a line of another kind', [LINES[0]!, '{"kind":"song","atMs":1}'], 'r:2: not a line of a recording: kind'],
    [
      'with a size that is text',
      [LINES[0]!, LINES[1]!.replace('"requestBytes":1', '"requestBytes":"1"')],
      'r:2: not a line of a recording: requestBytes',
    ],
  ])('one %s is refused', async (_what, lines, message) => {
    await expect(readRecording(lines, 'r')).rejects.toThrow(message);
  });
});
