import { readSync, writeSync } from 'node:fs';
import { type Awaited, waitFor } from '../../backends/linux/stream-calls.ts';

/** The other end of `PacketProcess`: lines on descriptor 3. Whoever started this process ends it by ending the channel. */
export const CHANNEL: Awaited = { fd: 3, to: 'read' };

const bytes = Buffer.alloc(64 * 1024);

/** Is there a line, or the end of all? */
export const isAsked = (): boolean => waitFor([CHANNEL], 0).size > 0;

/** The next line; the process ends where its other end is gone. */
export function readLine(): string {
  let text = '';
  while (!text.endsWith('\n')) {
    const length = readSync(CHANNEL.fd, bytes);
    if (length === 0) process.exit(0);
    text += bytes.toString('utf8', 0, length);
  }
  return text.trim();
}

export function answer(said: object): void {
  writeSync(CHANNEL.fd, `${JSON.stringify(said)}\n`);
}
