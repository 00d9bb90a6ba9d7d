import fc from 'fast-check';
import { test } from 'vitest';
import { TraceError } from '../../src/traces/errors.ts';
import { readTrace } from '../../src/traces/read.ts';
import { place } from '../../src/tuning/placement.ts';
import { ReplayError } from '../../src/tuning/errors.ts';
import { replay } from '../../src/tuning/replay.ts';
import { gaia } from '../../src/memory/policies/gaia.ts';
import { Reach, runs } from './reach.ts';

const RUN = '{"kind":"run","version":1,"title":"t","backend":"linux","policy":"gaia","seed":1,"commit":"c","hosts":[]}';
const header = fc.constantFrom(
  't_s,a,b',
  'container,t_s,mem_mib',
  'pod,dt_ms,usage_bytes,memory_request_bytes',
  'vm,mem_prov_kb_max,first_ms',
  'time,x',
  RUN,
);
const word = fc.oneof(
  fc.integer({ min: 0, max: 99 }).map(String),
  fc.constantFrom(
    '',
    '"',
    '""',
    '"7"',
    'NaN',
    '-1',
    '1e99',
    '1e3',
    '0x1',
    ' 5 ',
    'x',
    'y',
    '\r',
    '\u0000',
    '9'.repeat(30),
    '.',
    '-',
    '+',
    '1.5.2',
  ),
  fc.string({ maxLength: 4, unit: 'binary' }),
);
const row = fc.array(word, { minLength: 1, maxLength: 4 }).map((fields) => fields.join(','));
const observation = fc
  .record({
    kind: fc.constantFrom('start', 'sample', 'death', 'decision', 'line', 'end', 'request', 'note', 7),
    atMs: fc.oneof(fc.integer({ min: -1, max: 9 }), fc.constant(1e300), fc.constant(null)),
    container: fc.constantFrom('a', 'b', '__proto__'),
    requestBytes: fc.integer({ min: -1, max: 9 }),
    workingSetBytes: fc.oneof(fc.nat(9), fc.dictionary(fc.constantFrom('a', 'b', '__proto__'), fc.nat(9))),
    cause: fc.constantFrom('supervisor', 'exit', 'kernel', 'x'),
    outcome: fc.constantFrom('killed', 'dry'),
  })
  .map((line) => JSON.stringify(line));
/** Rows that fit their header, in order of time. */
const sound = fc
  .tuple(
    fc.constantFrom('wide', 'long', 'recording'),
    fc.array(fc.tuple(fc.nat(50), fc.nat(50)), { minLength: 1, maxLength: 6 }),
  )
  .map(([form, pairs]) => {
    if (form === 'wide') return ['t_s,a,b', ...pairs.map(([a, b], at) => `${at},${a},${b}`)];
    if (form === 'long')
      return ['container,t_s,mem_mib', ...pairs.flatMap(([a, b], at) => [`x,${at},${a}`, `y,${at},${b}`])];
    const sample = ([a, b]: [number, number], at: number): string =>
      JSON.stringify({ kind: 'sample', atMs: at * 1000, workingSetBytes: { a, b } });
    return [RUN, ...pairs.map(sample)];
  });
const wild = fc
  .tuple(header, fc.array(fc.oneof(row, observation), { maxLength: 6 }))
  .map(([first, rows]) => [first, ...rows]);
/** Sound lines of which one is another. */
const spoilt = fc
  .tuple(sound, fc.nat(20), fc.oneof(row, observation))
  .map(([lines, at, other]) => lines.with(at % lines.length, other));
const text = fc
  .tuple(fc.oneof(sound, wild, spoilt), fc.constantFrom('\n', '\r\n'))
  .map(([lines, end]) => lines.join(end));
const bytes = fc.oneof(
  { weight: 4, arbitrary: text.map((one) => new TextEncoder().encode(one)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }) },
);

test('whatever bytes come, in whatever pieces, the readers give a trace or a TraceError of one line', async () => {
  const reach = new Reach(['a trace', 'an error', 'replayed', 'two files']);
  await fc.assert(
    fc.asyncProperty(
      fc.array(bytes, { minLength: 1, maxLength: 2 }),
      fc.integer({ min: 1, max: 9 }),
      async (files, size) => {
        const met = files.length > 1 ? ['two files'] : [];
        try {
          const trace = await readTrace(
            files.map((content, index) => ({
              name: `f${index}_mib.csv`,
              chunks: Array.from({ length: Math.ceil(content.length / size) }, (_, at) =>
                content.subarray(at * size, (at + 1) * size),
              ),
            })),
          );
          met.push('a trace');
          for (const value of trace.usageBytes) if (!(value >= 0)) throw new Error(`usage ${value} came through`);
          try {
            replay(place(trace, { request: 'p50' }), gaia);
            met.push('replayed');
          } catch (error) {
            if (!(error instanceof ReplayError)) throw error;
          }
        } catch (error) {
          if (!(error instanceof TraceError) || error.message.includes('\n')) throw error;
          met.push('an error');
        }
        reach.add(met);
      },
    ),
    runs(100_000),
  );
  reach.demand();
});
