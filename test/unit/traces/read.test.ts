import { gzipSync, createGunzip } from 'node:zlib';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { MIB } from '../../../src/host/units.ts';
import { TraceError } from '../../../src/traces/errors.ts';
import { readTrace, type ReadOptions } from '../../../src/traces/read.ts';
import { runTimes, type Trace } from '../../../src/traces/trace.ts';

/** Bytes in pieces of this size, so that lines and numbers are torn. */
const pieces = (text: string, size = 7): Uint8Array[] => {
  const bytes = new TextEncoder().encode(text);
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
};
const read = (files: Readonly<Record<string, string>>, options?: ReadOptions): Promise<Trace> =>
  readTrace(
    Object.entries(files).map(([name, text]) => ({ name, chunks: pieces(text) })),
    options,
  );

/** What each container used and when, for comparing. */
function told(trace: Trace): Record<string, [number, number][]> {
  const result: Record<string, [number, number][]> = {};
  const { startMs } = runTimes(trace);
  for (const [run, series] of trace.runs.series.entries()) {
    const from = trace.runs.from[run]!;
    const list = (result[trace.names[series]!] ??= []);
    for (let at = 0; at < trace.runs.count[run]!; at++)
      list.push([
        trace.clock.kind === 'grid' ? startMs[run]! + at * trace.clock.stepMs : trace.clock.timesMs[from + at]!,
        trace.usageBytes[from + at]!,
      ]);
  }
  return result;
}

describe('a column a container', () => {
  const text = 't_s,a,b\n0,1,\n300,2.5,4\n600,,5\n900,0.0,6\n';

  test('is read onto one grid; blanks are gaps, zero is not', async () => {
    const trace = await read({ 'x.mem_used_mib.csv': text });
    expect(trace.clock).toEqual({ kind: 'grid', stepMs: 300_000, columns: 4 });
    expect(told(trace)).toEqual({
      a: [
        [0, MIB],
        [300_000, 2.5 * MIB],
        [900_000, 0],
      ],
      b: [
        [300_000, 4 * MIB],
        [600_000, 5 * MIB],
        [900_000, 6 * MIB],
      ],
    });
    expect(trace.runs.series).toEqual(Int32Array.of(0, 0, 1));
    expect(trace.requestBytes).toEqual(Float64Array.of(Number.NaN, Number.NaN));
  });

  test.each([
    ['other order of columns', 'b,T S,a\n,0,1\n4,300,2.5\n5,600,\n6,900,0.0\n'],
    [
      'CRLF, quotes, blanks and a byte order mark',
      '\uFEFF"t_s","a","b"\r\n"0", 1 ,\r\n300,"2.5",4\r\n\r\n600,,5\r\n900,0.0,6',
    ],
    ['exponents', 't_s,a,b\n0,1e0,\n3e2,25e-1,+4\n600,,5.\n900,.0,6\n'],
  ])('is the same with %s', async (_, other) => {
    expect(told(await read({ 'x_mib.csv': other }))).toEqual(told(await read({ 'x_mib.csv': text })));
  });

  test('keeps moments of their own where steps differ', async () => {
    const trace = await read({ 'x_mib.csv': 't_s,a\n0,1\n300,2\n301,3\n' });
    expect(trace.clock.kind).toBe('stamps');
    expect(told(trace)).toEqual({
      a: [
        [0, MIB],
        [300_000, 2 * MIB],
        [301_000, 3 * MIB],
      ],
    });
  });

  test('months run in turn, a container keeps its name, and the largest recorded request counts', async () => {
    const trace = await read({
      '7.usage_mib.csv': 't_s,vm1,vm2\n5,1,2\n15,3,4\n',
      '7.vms.csv': 'vm,mem_prov_kb_max\n1,2048\n2,1024\n',
      '8.usage_mib.csv': 't_s,vm2,vm3\n0,7,8\n10,9,10\n',
      '8.vms.csv': 'vm,mem_prov_kb_max\n2,4096\n3,1024\n',
    });
    expect(told(trace)).toEqual({
      vm1: [
        [0, MIB],
        [10_000, 3 * MIB],
      ],
      vm2: [
        [0, 2 * MIB],
        [10_000, 4 * MIB],
        [20_000, 7 * MIB],
        [30_000, 9 * MIB],
      ],
      vm3: [
        [20_000, 8 * MIB],
        [30_000, 10 * MIB],
      ],
    });
    expect(trace.requestBytes).toEqual(Float64Array.of(2 * MIB, 4 * MIB, MIB));
  });
});

describe('a row a sample', () => {
  test('is read in any order of containers, each from its own start', async () => {
    const trace = await read({
      'run.containers.csv': 'container,first_ms,mem_limit_bytes\nx,5000,100\ny,2000,\n',
      'run.samples.csv': 'mem_mib,container,dt_ms\n1,x,0\n3,y,0\n2,x,1000\n,y,500\n4,y,700\n',
    });
    expect(told(trace)).toEqual({
      x: [
        [3000, MIB],
        [4000, 2 * MIB],
      ],
      y: [
        [0, 3 * MIB],
        [700, 4 * MIB],
      ],
    });
    expect(trace.runs.count).toEqual(Int32Array.of(2, 1, 1));
    expect(trace.requestBytes).toEqual(Float64Array.of(100, Number.NaN));
  });

  test('takes the working set before plain usage, and moments from the first of all', async () => {
    const trace = await read({ 'p.csv': 'usage_bytes,pod,working_set_bytes,t_s\n9,p,5,10\n9,q,6,20\n' });
    expect(told(trace)).toEqual({ p: [[0, 5]], q: [[10_000, 6]] });
  });

  test('knows machines, priorities and requests told with each row, and a unit that is given', async () => {
    const text =
      'time_us,collection_id,instance_index,machine_id,priority,max_memory_usage,memory_limit\n1000000,7,0,m2,200,0.5,0.25\n2000000,7,1,m1,100,0.25,0.5\n';
    const trace = await read({ 'tasks.csv': text }, { unitBytes: 1000 });
    expect(told(trace)).toEqual({ '7/0': [[0, 500]], '7/1': [[1000, 250]] });
    expect(trace.requestBytes).toEqual(Float64Array.of(250, 500));
    expect([...trace.machineOf!].map((index) => trace.machineNames[index])).toEqual(['m2', 'm1']);
    expect(trace.priority).toEqual(Float64Array.of(200, 100));
    await expect(read({ 'tasks.csv': text })).rejects.toThrow(
      '"max_memory_usage" does not say its unit: give it with --unit',
    );
  });
});

describe('a recording', () => {
  const run =
    '{"kind":"run","version":1,"title":"night","backend":"linux","policy":"gaia","seed":1,"commit":"c","hosts":["h"]}\n';
  const text = `${run}{"kind":"start","atMs":0,"container":"a","requestBytes":10}
{"kind":"start","atMs":0,"container":"b","requestBytes":20}
{"kind":"sample","atMs":1000,"totalBytes":3,"workingSetBytes":{"a":100,"b":200}}
{"kind":"sample","atMs":2000,"totalBytes":3,"workingSetBytes":{"a":110,"b":210}}
{"kind":"decision","atMs":2500,"container":"a","workingSetBytes":120,"requestBytes":10,"totalBytes":3,"reason":"r","outcome":"killed"}
{"kind":"death","atMs":2600,"container":"a","cause":"supervisor"}
{"kind":"sample","atMs":3000,"totalBytes":3,"workingSetBytes":{"a":5,"b":220}}
{"kind":"death","atMs":3500,"container":"b","cause":"exit"}
{"kind":"end","atMs":4500}
`;

  test('keeps the last value of a container that was killed, and tells how much is assumed', async () => {
    const trace = await read({ 'r.ndjson': text });
    expect(told(trace)).toEqual({
      a: [
        [1000, 100],
        [2000, 110],
        [2500, 120],
        [4500, 120],
      ],
      b: [
        [1000, 200],
        [2000, 210],
        [3000, 220],
      ],
    });
    expect(trace.requestBytes).toEqual(Float64Array.of(10, 20));
    expect(trace.assumedMs).toBe(2000);
    expect(trace.recorded).toMatchObject({ title: 'night', policy: 'gaia' });
  });

  test('holds the priorities that its containers began with; none where it does not say', async () => {
    const withPriorities = text
      .replace('"a","requestBytes":10', '"a","requestBytes":10,"priority":-3')
      .replace('"b","requestBytes":20', '"b","requestBytes":20,"priority":0');
    expect((await read({ 'r.ndjson': withPriorities })).priority).toEqual(Float64Array.of(-3, 0));
    expect((await read({ 'r.ndjson': text })).priority).toBeNull();
  });

  test('may end in half a line, but have none in its midst', async () => {
    const cut = await read({ 'r.ndjson': text.slice(0, -8) });
    expect(cut.notes).toEqual(['line 10 is cut off and was passed over']);
    await expect(read({ 'r.ndjson': `${run}{"kind":\n${text.slice(run.length)}` })).rejects.toThrow(
      'r.ndjson:2: is not JSON',
    );
  });

  test.each([
    [
      '{"kind":"sample","atMs":0,"workingSetBytes":{}}',
      'r.ndjson:1: is no recording: its first line must be of kind "run"',
    ],
    [`${run}{"kind":"sample","atMs":-1,"workingSetBytes":{}}`, 'r.ndjson:2: sample: atMs: '],
    [`${run}${run}`, 'r.ndjson:2: a second run begins here'],
    [run.replace('"version":1', '"version":2'), 'r.ndjson:1: was written in form 2'],
    [run, 'r.ndjson: holds no samples'],
  ])('is refused: %s', async (bad, message) => {
    await expect(read({ 'r.ndjson': bad })).rejects.toThrow(message);
  });
});

test('priorities that are all 0 are priorities', async () => {
  const rows = (header: string, value: string) =>
    read({ 'x.csv': `pod,t_s,mem_mib${header}\nx,0,1${value}\ny,0,1${value}\n` });
  expect((await rows(',priority', ',0')).priority).toEqual(Float64Array.of(0, 0));
  expect((await rows('', '')).priority).toBeNull();
});

describe('a file that is no trace, beside one that is', () => {
  const STRAY = {
    'datapackage.json': '{\n  "name": "night"\n}\n',
    'one-line.json': '{"name": "night"}\n',
    'list.json': '["night","day"]\n',
    'README.md': '"Night" is a trace\nof one container.\n',
    'torn.md': '"Night\n',
    _SUCCESS: '',
    blank: '\n\n',
  };
  const wide = 't_s,a\n0,1\n1,2\n';

  test('is passed over with a note', async () => {
    const alone = told(await read({ 'x_mib.csv': wide }));
    for (const [name, text] of Object.entries(STRAY))
      for (const files of [
        { [name]: text, 'x_mib.csv': wide },
        { 'x_mib.csv': wide, [name]: text },
      ]) {
        const trace = await read(files);
        expect(told(trace)).toEqual(alone);
        expect(trace.notes).toEqual([`${name} was not needed`]);
      }
  });

  test('is told beside a recording too', async () => {
    const recording =
      '{"kind":"run","version":1,"title":"r","backend":"linux","policy":"gaia","seed":1,"commit":"c","hosts":["h"]}\n{"kind":"sample","atMs":0,"totalBytes":1,"workingSetBytes":{"a":1}}\n';
    const trace = await read({ ...STRAY, 'r.ndjson': recording });
    expect(trace.notes).toEqual(Object.keys(STRAY).map((name) => `${name} was not needed`));
    const newer = recording.replace('"version":1', '"version":2');
    await expect(read({ 'x_mib.csv': wide, 'r.ndjson': newer })).rejects.toThrow('r.ndjson:1: was written in form 2');
  });

  test.each(Object.entries(STRAY))('is an error where it is all there is: %s', async (name, text) => {
    await expect(read({ [name]: text })).rejects.toThrow(TraceError);
    await expect(read({ [name]: text, other: '' })).rejects.toThrow(name);
  });
});

describe('bad input is told with file and line', () => {
  test.each([
    ['', 'f_mib.csv: is empty'],
    ['\n\r\n', 'f_mib.csv: is empty'],
    ['t_s,a\n', 'f_mib.csv:1: has a header but no rows'],
    ['t_s,a\n0,1\n0,2\n', 'f_mib.csv:3: t_s does not rise'],
    ['t_s,a\n0,1\n1,NaN\n', 'f_mib.csv:3: usage is "NaN", not a number; leave it blank'],
    ['t_s,a\n0,1\n1,-4\n', 'f_mib.csv:3: usage is -4: it cannot be negative'],
    ['t_s,a\n0,1\n1\n', 'f_mib.csv:3: has 1 fields, the header has 2'],
    ['t_s,a\n0,1e18\n', 'f_mib.csv:2: a is 1000000000000000000: no machine has that much'],
    ['t_s,a\n,1\n', 'f_mib.csv:2: t_s is blank or too large'],
    ['t_s,a\n0,"1\n', 'f_mib.csv:2: a quoted field is not closed'],
    ['t_s,a\n0,"1"2\n', 'f_mib.csv:2: field 2 goes on after its closing quote'],
    ['t_s,a,a\n0,1,2\n', 'f_mib.csv:1: two columns are called "a"'],
    [
      'timestamp,a\n0,1\n',
      'f_mib.csv:1: column "timestamp" does not say its unit: rename it timestamp_s or timestamp_ms',
    ],
    ['container,t_s,mem_mb\nx,0,1\n', 'f_mib.csv:1: column "mem_mb" does not say its unit'],
    ['container,t_s,mem_mib\nx,5,1\nx,4,1\n', 'f_mib.csv:3: t_s does not rise for container "x"'],
    ['container,t_s,mem_mib\n,5,1\n', 'f_mib.csv:2: the name of the container is blank'],
    ['contaner,t_s,mem_mib\nx,5,1\n', 'no column names the container; is "contaner" meant as "container"?'],
    [
      'container,mem_mib\nx,5\n',
      'f_mib.csv:1: no column tells a time; it has "container", "mem_mib". Read are a row a sample',
    ],
    ['container,mem_limit_bytes\nx,5\n', 'has a table of containers but no samples'],
    ['\u0000\u0001\u0002', 'f_mib.csv:1: no column tells a time or usage; it has "???"'],
  ])('%j', async (text, message) => {
    const error = await read({ 'f_mib.csv': text }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TraceError);
    expect((error as Error).message).toContain(message);
    expect((error as Error).message).not.toContain('\n');
  });

  test('a wide file in no known unit', async () => {
    await expect(read({ 'f.csv': 't_s,a\n0,1\n' })).rejects.toThrow('f.csv:1: nothing says in which unit usage is');
    expect(told(await read({ 'f.csv': 't_s,a\n0,1\n' }, { unitBytes: 5 }))).toEqual({ a: [[0, 5]] });
  });

  test('forms that do not belong together', async () => {
    const wide = 't_s,a\n0,1\n';
    await expect(read({ 'a_mib.csv': wide, 'b.csv': 'pod,t_s,mem_mib\nx,5,1\n' })).rejects.toThrow('different forms');
  });

  test('a gzip that was cut off, or damaged', async () => {
    const whole = gzipSync(
      't_s,a\n' + Array.from({ length: 2000 }, (_, at) => `${at},${(at * 7919) % 1000}\n`).join(''),
    );
    const gunzipped = (bytes: Buffer) =>
      readTrace([{ name: 'f_mib.csv.gz', chunks: Readable.from([bytes]).pipe(createGunzip()) }]);
    expect((await gunzipped(whole)).usageBytes).toHaveLength(2000);
    await expect(gunzipped(whole.subarray(0, whole.length - 200))).rejects.toThrow(
      'f_mib.csv.gz: the compressed file ends too early',
    );
    const damaged = Buffer.from(whole);
    damaged.fill(0xff, 200, 240);
    await expect(gunzipped(damaged)).rejects.toThrow(TraceError);
  });
});
