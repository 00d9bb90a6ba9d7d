import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { TraceFile } from '../traces/csv.ts';
import { TraceError } from '../traces/errors.ts';
import { readTrace, type ReadOptions } from '../traces/read.ts';
import type { Trace } from '../traces/trace.ts';

/** The first two bytes of every gzip file (RFC 1952). */
const GZIP = [0x1f, 0x8b];

/** Large enough that calls are few, small enough that few are kept. */
const CHUNK_BYTES = 256 * 1024;

/** Reads a trace from files and folders; a folder is all its files, in order of name, numbers by their value. @throws TraceError */
export async function readTraceAt(paths: readonly string[], options: ReadOptions = {}): Promise<Trace> {
  const files: TraceFile[] = [];
  for (const path of paths) for (const name of await filesAt(path)) files.push({ name, chunks: chunksOf(name) });
  const [only] = paths;
  const folder = paths.length === 1 && files.length > 0 && files[0]!.name !== only;
  return readTrace(files, { ...(folder && { title: basename(resolve(only!)) }), ...options });
}

async function filesAt(path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const entries = await readdir(path, { withFileTypes: true });
    const names = entries.flatMap((entry) =>
      entry.isDirectory() || entry.name.startsWith('.') ? [] : [join(path, entry.name)],
    );
    if (names.length === 0) throw new TraceError(path, undefined, 'the folder is empty: there is no trace in it');
    return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  } catch (cause) {
    if (cause instanceof TraceError) throw cause;
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new TraceError(
      path,
      undefined,
      missing ? 'there is no such file or folder' : `cannot be read: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** The bytes of a file, decompressed if it is gzip, which its first bytes tell. */
async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  const raw = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  try {
    const chunks = raw[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    const first = await chunks.next();
    if (first.done === true) return;
    const all = async function* (): AsyncGenerator<Uint8Array> {
      yield first.value;
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
    };
    if (first.value[0] !== GZIP[0] || first.value[1] !== GZIP[1]) {
      yield* all();
      return;
    }
    const source = Readable.from(all(), { objectMode: false });
    const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
    source.on('error', (error) => gunzip.destroy(error));
    yield* source.pipe(gunzip) as AsyncIterable<Uint8Array>;
  } finally {
    raw.destroy();
  }
}
