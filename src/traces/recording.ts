import { z } from 'zod';
import type { Bytes, Milliseconds } from '../host/units.ts';
import { samePlainData } from '../host/same.ts';
import type { MemoryLine } from '../host/supervision.ts';
import { shown } from './csv.ts';
import { TraceError } from './errors.ts';
import { StampedSamples } from './stamped.ts';
import { makeTrace, MOST_BYTES, prioritiesOf, type RecordedRun, type Trace } from './trace.ts';

const moment = z.number().min(0).max(Number.MAX_SAFE_INTEGER);
const size = z.number().min(0).max(MOST_BYTES);
const on = { host: z.string().optional(), atMs: moment };

/** The lines a replay reads; every other kind is passed over. */
const LINES = {
  run: z.object({
    version: z.number(),
    title: z.string(),
    backend: z.enum(['sim', 'linux']),
    policy: z.string(),
    policyOverride: z.string().optional(),
    seed: z.number(),
    commit: z.string(),
    scenario: z.unknown().optional(),
  }),
  start: z.object({ ...on, container: z.string(), requestBytes: size, priority: z.number().optional() }),
  request: z.object({ ...on, container: z.string(), requestBytes: size }),
  sample: z.object({ ...on, workingSetBytes: z.record(z.string(), size) }),
  decision: z.object({
    ...on,
    container: z.string(),
    workingSetBytes: size,
    outcome: z.enum(['killed', 'dry', 'failed']),
  }),
  death: z.object({ ...on, container: z.string(), cause: z.enum(['supervisor', 'kernel', 'stopped', 'exit']) }),
  line: z.object({
    ...on,
    hardLimitBytes: size,
    killAtBytes: size,
    stopAtBytes: size,
    ceilingBytes: size,
    lookEveryMs: moment,
  }),
  end: z.object(on),
} as const;

interface Container {
  readonly name: string;
  readonly host: string;
  requestBytes: number;
  /** NaN where it was not written. */
  priority: number;
  state: 'running' | 'off' | 'killed' | 'gone';
  diedMs: number;
  lastBytes: number;
}

/** Is this the first line of a recording, of whatever form? */
export function isFirstLine(text: string): boolean {
  try {
    return (JSON.parse(text) as { kind?: unknown } | null)?.kind === 'run';
  } catch {
    return false;
  }
}

/** Gathers a recording of Plimsoll's own: NDJSON, one observation a line. */
export class RecordingReader {
  readonly #file: string;
  readonly #samples = new StampedSamples();
  readonly #containers = new Map<string, Container>();
  readonly #index = new Map<Container, number>();
  #run: RecordedRun | undefined;
  readonly #lines = new Map<string, MemoryLine>();
  /** Hosts whose line was another before. */
  readonly #relined = new Set<string>();
  #lastMs = 0;
  #broken: { line: number; cause: unknown } | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** Takes one line of the file; `isFirstLine` holds of the first. */
  take(text: string, line: number): void {
    if (this.#broken) throw this.#error(this.#broken.line, 'is not JSON', this.#broken.cause);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      // The last line of a run that was cut off may be half a line; any other must be whole.
      this.#broken = { line, cause };
      return;
    }
    const kind = (value as { kind?: unknown } | null)?.kind;
    if (typeof kind !== 'string' || !Object.hasOwn(LINES, kind)) return;
    this.#observe(kind as keyof typeof LINES, value, line);
  }

  /** All of it; `notes` are those of its other files. */
  finish(notes: string[] = []): Trace {
    const run = this.#run!;
    if (this.#broken) notes.push(`line ${this.#broken.line} is cut off and was passed over`);
    let assumedMs = 0;
    for (const container of this.#containers.values()) {
      const index = this.#index.get(container);
      if (container.state !== 'killed' || index === undefined) continue;
      if (this.#lastMs > this.#samples.lastMs(index)) this.#samples.add(index, this.#lastMs, container.lastBytes);
      assumedMs += this.#lastMs - container.diedMs;
    }
    const series = [...this.#index.keys()];
    if (series.length === 0)
      throw this.#error(undefined, 'holds no samples of any container: there is nothing to replay');
    const hosts = [...new Set(series.map(({ host }) => host))];
    for (const host of this.#relined)
      notes.push(
        `the hard limit, or what goes with it, was changed${host === '' ? '' : ` on ${shown(host)}`}: the last is taken`,
      );
    return makeTrace(
      {
        title: run.title,
        importer: 'recording',
        names: series.map(({ name, host }) => (hosts.length > 1 ? `${host}/${name}` : name)),
        requestBytes: Float64Array.from(series, ({ requestBytes }) => requestBytes),
        priority: prioritiesOf(series),
        machineOf: Int32Array.from(series, ({ host }) => hosts.indexOf(host)),
        machineNames: hosts,
        lines: hosts.map((host) => this.#lines.get(host) ?? null),
        recorded: run,
        assumedMs,
        notes,
      },
      this.#samples.layOut(series.length, () => 0),
    );
  }

  #observe(kind: keyof typeof LINES, value: unknown, line: number): void {
    const parsed = LINES[kind].safeParse(value);
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!;
      throw this.#error(line, `${kind}: ${issue.path.map(String).join('.')}: ${shown(issue.message)}`, parsed.error);
    }
    if (kind === 'run') {
      const run = parsed.data as z.infer<typeof LINES.run>;
      if (this.#run !== undefined) throw this.#error(line, 'a second run begins here: replay one recording at a time');
      if (run.version !== 1)
        throw this.#error(line, `was written in form ${run.version}, this version reads form 1: use a newer plimsoll`);
      this.#run = run;
      return;
    }
    const seen = parsed.data as { atMs: number; host?: string };
    const host = seen.host ?? '';
    this.#lastMs = Math.max(this.#lastMs, seen.atMs);
    switch (kind) {
      case 'start': {
        const { container, requestBytes, priority = Number.NaN } = parsed.data as z.infer<typeof LINES.start>;
        const one = this.#container(host, container);
        one.requestBytes = requestBytes;
        one.priority = priority;
        if (one.state === 'killed') this.#gap(one, seen.atMs);
        one.state = 'running';
        break;
      }
      case 'request': {
        const { container, requestBytes } = parsed.data as z.infer<typeof LINES.request>;
        // A trace holds one request for each: the last that was asked for.
        this.#container(host, container).requestBytes = requestBytes;
        break;
      }
      case 'sample': {
        const { workingSetBytes } = parsed.data as z.infer<typeof LINES.sample>;
        for (const [name, bytes] of Object.entries(workingSetBytes))
          this.#sample(this.#container(host, name), seen.atMs, bytes, line);
        for (const one of this.#containers.values())
          if (one.host === host && one.state === 'running' && !Object.hasOwn(workingSetBytes, one.name))
            this.#gap(one, seen.atMs);
        break;
      }
      case 'decision': {
        const decision = parsed.data as z.infer<typeof LINES.decision>;
        if (decision.outcome === 'killed')
          this.#killed(host, decision.container, seen.atMs, decision.workingSetBytes, line);
        break;
      }
      case 'death': {
        const { container, cause } = parsed.data as z.infer<typeof LINES.death>;
        const one = this.#container(host, container);
        if (one.state === 'killed') break;
        if (cause === 'supervisor' || cause === 'kernel') this.#killed(host, container, seen.atMs, one.lastBytes, line);
        else {
          this.#gap(one, seen.atMs);
          one.state = 'gone';
        }
        break;
      }
      case 'line': {
        const { atMs: _atMs, host: _host, ...figures } = parsed.data as z.infer<typeof LINES.line>;
        const before = this.#lines.get(host);
        if (before !== undefined && !samePlainData(before, figures)) this.#relined.add(host);
        this.#lines.set(host, figures as { [K in keyof MemoryLine]: Bytes & Milliseconds });
        break;
      }
      case 'end':
        break;
    }
  }

  #container(host: string, name: string): Container {
    const key = `${host}\0${name}`;
    let container = this.#containers.get(key);
    if (container === undefined) {
      container = {
        name,
        host,
        requestBytes: Number.NaN,
        priority: Number.NaN,
        state: 'running',
        diedMs: 0,
        lastBytes: Number.NaN,
      };
      this.#containers.set(key, container);
    }
    return container;
  }

  #sample(container: Container, atMs: number, bytes: number, line: number): void {
    if (container.state === 'killed' || container.state === 'gone') return;
    const index = this.#index.get(container) ?? this.#index.size;
    this.#index.set(container, index);
    container.state = 'running';
    container.lastBytes = Math.round(bytes);
    const last = this.#samples.lastMs(index);
    if (atMs < last) throw this.#error(line, `time goes back for container "${shown(container.name)}"`);
    if (Math.round(atMs) > Math.round(last)) this.#samples.add(index, atMs, container.lastBytes);
  }

  #killed(host: string, name: string, atMs: number, bytes: number, line: number): void {
    const container = this.#container(host, name);
    if (Number.isFinite(bytes)) this.#sample(container, atMs, bytes, line);
    if (container.state === 'killed' || container.state === 'gone') return;
    container.state = 'killed';
    container.diedMs = atMs;
  }

  /** Off from here: usage is not drawn across. */
  #gap(container: Container, atMs: number): void {
    const index = this.#index.get(container);
    if (container.state === 'off' || index === undefined) return;
    container.state = 'off';
    if (atMs >= this.#samples.lastMs(index)) this.#samples.add(index, this.#samples.lastMs(index), Number.NaN);
  }

  #error(line: number | undefined, what: string, cause?: unknown): TraceError {
    return new TraceError(this.#file, line, what, { cause });
  }
}
