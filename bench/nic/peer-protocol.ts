import type { Socket } from 'node:net';
import * as z from 'zod';
import type { SinkCounts } from './sink.ts';

/** Of what is said between the two hosts: both must speak the same. */
export const PEER_VERSION = 1;
/** Beside VXLAN's of Plimsoll; nobody has registered it. */
export const PEER_PORT = 47_891;

/** Who has said nothing for so long is gone: a host that lost its power does not close its connections. */
export const SILENCE_MS = 20_000;
/** So often whoever has nothing to ask says that it is there. */
export const SIGN_EVERY_MS = 5000;

/** No line of either side is a hundredth of this. */
const LINE_BYTES_MAX = 64 * 1024;

const count = z.number().int().nonnegative();

const Counts = z.object({
  packets: count,
  bytes: count,
  tunnelPackets: count,
}) satisfies z.ZodType<SinkCounts>;

/** A line to the sink. The version comes first, so that any other can at least be told so. */
export const Request = z.discriminatedUnion('ask', [
  z.object({ ask: z.literal('begin'), version: z.number() }),
  z.object({ ask: z.literal('counts') }),
  z.object({ ask: z.literal('sign') }),
  z.object({ ask: z.literal('end') }),
]);
export type Request = z.infer<typeof Request>;

/** The line that answers it. */
export const Response = z.union([
  z.object({ error: z.string() }),
  z.object({ begun: z.object({ version: z.number() }) }),
  z.object({ counts: Counts }),
  z.object({ done: z.literal(true) }),
]);
export type Response = z.infer<typeof Response>;

/** Reads a connection by lines; one that never ends is no line of ours, and ends the connection. */
export function readLines(socket: Socket, take: (line: string) => void): void {
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (more: string) => {
    const lines = (text + more).split('\n');
    text = lines.pop()!;
    for (const line of lines) take(line);
    if (text.length > LINE_BYTES_MAX) socket.destroy(new Error('a line that does not end'));
  });
}

/** What a line says, checked; null where it is nothing that could be said. */
export function parseLine<T>(schema: z.ZodType<T>, line: string): T | null {
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
