import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EventReader, EventWriter } from '../../../../backends/linux/event-log.ts';
import type { SupervisorEvent } from '../../../../src/host/supervision.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const look = (atMs: number): SupervisorEvent => ({ kind: 'look', atMs, totalBytes: atMs * 7 });
const times = (events: readonly SupervisorEvent[]): number[] => events.map(({ atMs }) => atMs);

test('each event is taken once, also by a reader that begins anew', () => {
  const writer = new EventWriter(folder);
  const reader = new EventReader(folder);
  expect(reader.take()).toEqual([]);
  writer.add(look(1));
  writer.add(look(2));
  expect(reader.take()).toEqual([]);
  writer.flush(2);
  expect(reader.take()).toEqual([look(1), look(2)]);
  writer.add(look(3));
  writer.flush(3);
  const afterCrash = new EventReader(folder);
  expect(afterCrash.take()).toEqual([look(3)]);
  expect(afterCrash.take()).toEqual([]);
});

test('a line that a kill cut off is left out, and what a new writer tells comes', () => {
  const writer = new EventWriter(folder);
  writer.add(look(1));
  writer.flush(1);
  const [segment] = readdirSync(folder);
  appendFileSync(join(folder, segment!), '{"kind":"look","atMs":2,"tot');
  const reader = new EventReader(folder);
  expect(times(reader.take())).toEqual([1]);
  const next = new EventWriter(folder);
  next.add(look(3));
  next.flush(3);
  expect(times(reader.take())).toEqual([3]);
});

test('a long log goes on in new segments, and taken ones are deleted', () => {
  const writer = new EventWriter(folder);
  const reader = new EventReader(folder);
  const long = 'x'.repeat(1024 * 1024);
  const seen: number[] = [];
  for (let at = 1; at <= 20; at++) {
    writer.add({ kind: 'trouble', atMs: at, message: long });
    writer.flush(at);
    if (at % 6 === 0) seen.push(...times(reader.take()));
  }
  seen.push(...times(reader.take()));
  expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  expect(readdirSync(folder).filter((name) => name.startsWith('events-'))).toHaveLength(1);
});

test('what nobody takes is dropped from its oldest end, and told', () => {
  const writer = new EventWriter(folder);
  const long = 'x'.repeat(5 * 1024 * 1024);
  for (let at = 1; at <= 20; at++) {
    writer.add({ kind: 'trouble', atMs: at, message: long });
    writer.flush(at);
  }
  expect(readdirSync(folder)).toHaveLength(16);
  const events = new EventReader(folder).take();
  expect(times(events.filter((event) => event.kind === 'trouble' && event.message === long))).toEqual(
    Array.from({ length: 16 }, (_, index) => index + 5),
  );
  expect(events.some((event) => event.kind === 'trouble' && event.message.includes('was dropped'))).toBe(true);
});

test('however writing, taking and crashing are mixed: all of it once, in order', () => {
  const step = fc.constantFrom('write', 'take', 'reader crashes', 'writer crashes' as const);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const own = mkdtempSync(join(folder, 'run-'));
      let writer = new EventWriter(own);
      let reader = new EventReader(own);
      let written = 0;
      const seen: number[] = [];
      for (const each of [...steps, 'take' as const]) {
        if (each === 'write') {
          writer.add(look(++written));
          writer.flush(written);
        } else if (each === 'take') seen.push(...times(reader.take()));
        else if (each === 'reader crashes') reader = new EventReader(own);
        else writer = new EventWriter(own);
      }
      expect(seen).toEqual(Array.from({ length: written }, (_, index) => index + 1));
    }),
  );
});

test('a folder that is not there has no events; a line that is no event is told of, and the rest comes', () => {
  expect(new EventReader(join(folder, 'nowhere')).take()).toEqual([]);
  writeFileSync(join(folder, 'events-000000001.ndjson'), `rubbish\n${JSON.stringify(look(1))}\n`);
  expect(new EventReader(folder).take()).toEqual([
    expect.objectContaining({ kind: 'trouble', message: expect.stringContaining('rubbish') as string }),
    look(1),
  ]);
});

/** A mount of its own takes root; what it does in there is gone with the process. */
const isRoot = process.geteuid?.() === 0;
test.runIf(isRoot)('a full folder: what cannot be written is dropped and counted, and told once there is room', () => {
  const script = `
    import { readdirSync, rmSync, writeFileSync } from 'node:fs';
    import { EventReader, EventWriter } from ${JSON.stringify(new URL('../../../../backends/linux/event-log.ts', import.meta.url).href)};
    const writer = new EventWriter('.');
    const tell = (atMs, message) => { writer.add({ kind: 'trouble', atMs, message }); writer.flush(atMs); };
    tell(1, 'one');
    const before = new EventReader('.').take();
    try { writeFileSync('filler', Buffer.alloc(1 << 20)); } catch {}
    // The page that is there already takes the beginning of it.
    tell(2, 'two'.repeat(4000));
    writer.add({ kind: 'look', atMs: 3, totalBytes: 3 });
    tell(3, 'three'.repeat(4000));
    const during = new EventReader('.').take();
    rmSync('filler');
    tell(4, 'four');
    tell(5, 'five');
    console.log(JSON.stringify([before, during, new EventReader('.').take()]));
  `;
  const text = execFileSync(
    'unshare',
    [
      '-m',
      'sh',
      '-c',
      'mount -t tmpfs -o size=64k none "$1" && cd "$1" && exec "$2" --input-type=module-typescript -e "$3"',
      'sh',
      folder,
      process.execPath,
      script,
    ],
    { encoding: 'utf8' },
  );
  const [before, during, after] = JSON.parse(text) as [
    SupervisorEvent[],
    SupervisorEvent[],
    (SupervisorEvent & { message: string })[],
  ];
  expect(before).toEqual([{ kind: 'trouble', atMs: 1, message: 'one' }]);
  expect(during).toEqual([]);
  expect(after.map(({ atMs, message }) => [atMs, message.slice(0, 20)])).toEqual([
    [expect.any(Number), expect.stringContaining('a line of')],
    [4, '3 events could not b'],
    [4, 'four'],
    [5, 'five'],
  ]);
});
