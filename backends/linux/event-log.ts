import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  fstatSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { SupervisorEvent } from '../../src/host/supervision.ts';
import { monotonicMs } from './clock.ts';

/** A segment is closed past this, so that what was taken can be deleted while the supervisor goes on. */
const SEGMENT_BYTES = 4 * 1024 * 1024;

/** What nobody takes is kept up to this many segments: the run folder may be in memory. */
const SEGMENTS_MAX = 16;

const NEWLINE = 10;

const segmentName = (number: number): string => `events-${String(number).padStart(9, '0')}.ndjson`;

function segmentsIn(folder: string): number[] {
  return readdirSync(folder)
    .flatMap((name) => {
      const match = /^events-(\d+)\.ndjson$/.exec(name);
      return match ? [Number(match[1])] : [];
    })
    .sort((a, b) => a - b);
}

/**
 * The writing end: events of one supervisor, as lines of JSON in numbered segments. A new writer begins a new segment,
 * so a line cut off by a kill stays alone. The folder must be there: one that was swept away is not made again.
 */
export class EventWriter {
  readonly #folder: string;
  #segment: number;
  #fd: number;
  #writtenBytes = 0;
  #lines: string[] = [];
  #lost = { count: 0, why: '' };

  constructor(folder: string) {
    this.#folder = folder;
    this.#segment = (segmentsIn(folder).at(-1) ?? 0) + 1;
    this.#fd = openSync(join(folder, segmentName(this.#segment)), 'ax');
  }

  add(event: SupervisorEvent): void {
    this.#lines.push(lineOf(event));
  }

  /**
   * Writes what was added, in one piece. Never throws, because a supervisor must go on where its folder is full: what
   * cannot be written is dropped, and told as soon as something can be written again.
   */
  flush(nowMs: number): void {
    if (this.#lines.length === 0) return;
    let rest = Buffer.alloc(0);
    try {
      if (this.#writtenBytes >= SEGMENT_BYTES) this.#rotate(nowMs);
      rest = Buffer.from(this.#tellLost(nowMs) + this.#lines.join(''));
      while (rest.length > 0) {
        const written = writeSync(this.#fd, rest);
        this.#writtenBytes += written;
        rest = rest.subarray(written);
      }
      this.#lost = { count: 0, why: '' };
    } catch (error) {
      const unwritten = rest.length === 0 ? this.#lines.length : rest.filter((byte) => byte === NEWLINE).length;
      // Where the telling itself was written there is nothing more to tell of before it.
      const before = unwritten > this.#lines.length || rest.length === 0 ? this.#lost.count : 0;
      this.#lost = {
        count: before + Math.min(unwritten, this.#lines.length),
        why: error instanceof Error ? error.message : String(error),
      };
    }
    this.#lines = [];
  }

  /** Begins with a line's end: the last write may have been cut off within a line. */
  #tellLost(atMs: number): string {
    const { count, why } = this.#lost;
    if (count === 0) return '';
    return `\n${lineOf({ kind: 'trouble', atMs, message: `${count} events could not be written and are lost: ${why}` })}`;
  }

  #rotate(nowMs: number): void {
    const next = openSync(join(this.#folder, segmentName(this.#segment + 1)), 'ax');
    closeSync(this.#fd);
    this.#fd = next;
    this.#segment++;
    this.#writtenBytes = 0;
    for (const old of segmentsIn(this.#folder).slice(0, -SEGMENTS_MAX)) {
      rmSync(join(this.#folder, segmentName(old)), { force: true });
      this.add({
        kind: 'trouble',
        atMs: nowMs,
        message: `nobody took the events: segment ${old} was dropped, ${SEGMENTS_MAX} are kept`,
      });
    }
  }
}

const lineOf = (event: SupervisorEvent): string => `${JSON.stringify(event)}\n`;

/** How far events were taken: everything before `offset` of `segment`. */
interface Taken {
  segment: number;
  offset: number;
}

/**
 * The taking end. How far it came is on disk before events are handed over: after a crash nothing comes twice, and what
 * was never taken comes.
 */
export class EventReader {
  readonly #folder: string;
  readonly #taken: Taken;

  constructor(folder: string) {
    this.#folder = folder;
    this.#taken = readTaken(folder);
  }

  take(): SupervisorEvent[] {
    const events: SupervisorEvent[] = [];
    if (!existsSync(this.#folder)) return events;
    const taken = this.#taken;
    const before = { ...taken };
    const consumed: number[] = [];
    const segments = segmentsIn(this.#folder).filter((number) => number >= taken.segment);
    for (const [index, segment] of segments.entries()) {
      if (segment !== taken.segment) Object.assign(taken, { segment, offset: 0 });
      const path = join(this.#folder, segmentName(segment));
      const text = readFrom(path, taken.offset);
      // A line without an end is still being written, or was cut off by a kill.
      const whole = text.subarray(0, text.lastIndexOf(NEWLINE) + 1);
      taken.offset += whole.length;
      for (const line of whole.toString('utf8').split('\n')) if (line !== '') events.push(parsed(line, segment));
      if (index < segments.length - 1) consumed.push(segment);
    }
    if (taken.segment !== before.segment || taken.offset !== before.offset) {
      try {
        writeTaken(this.#folder, taken);
      } catch (error) {
        events.push(
          trouble(`how far events were taken cannot be kept, after a crash some come twice: ${String(error)}`),
        );
      }
    }
    for (const segment of consumed) rmSync(join(this.#folder, segmentName(segment)), { force: true });
    return events;
  }
}

/** A line that a full folder cut off is told of, and what comes after it is not lost with it. */
function parsed(line: string, segment: number): SupervisorEvent {
  try {
    return JSON.parse(line) as SupervisorEvent;
  } catch {
    return trouble(`a line of ${segmentName(segment)} is no event and was left out: ${line.slice(0, 60)}`);
  }
}

const trouble = (message: string): SupervisorEvent => ({ kind: 'trouble', atMs: monotonicMs(), message });

function readFrom(path: string, offset: number): Buffer {
  const fd = openSync(path, 'r');
  try {
    const rest = Buffer.alloc(Math.max(0, fstatSync(fd).size - offset));
    const length = readSync(fd, rest, 0, rest.length, offset);
    return rest.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

function readTaken(folder: string): Taken {
  const path = join(folder, 'taken');
  if (!existsSync(path)) return { segment: 0, offset: 0 };
  const [segment, offset] = readFileSync(path, 'latin1').split(' ').map(Number);
  return { segment: segment || 0, offset: offset || 0 };
}

/** One write of fixed width over what was there: a kill at any moment leaves the old or the new. */
function writeTaken(folder: string, { segment, offset }: Taken): void {
  const fd = openSync(join(folder, 'taken'), existsSync(join(folder, 'taken')) ? 'r+' : 'w');
  try {
    writeSync(fd, `${String(segment).padStart(9, '0')} ${String(offset).padStart(16, '0')}\n`, 0);
  } finally {
    closeSync(fd);
  }
}
