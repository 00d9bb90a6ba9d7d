import { createHash } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { HostError } from '../../src/host/errors.ts';
import { hostError } from './errors.ts';

/** A living holder answers at once; one that is stopped, or busy, holds it all the same. */
const ANSWER_WITHIN_MS = 1000;

/** One process's hold on a root. */
export interface RootLock {
  /** Lets go at once. */
  release(): void;
}

/**
 * Takes hold of a root, so that no two processes act on it: by an abstract unix socket (unix(7)), which the kernel takes
 * away with its process, however that ends. @throws HostError EBUSY, naming who holds it
 */
export async function lockRoot(root: string): Promise<RootLock> {
  // Hashed: a mark may be longer than the 107 bytes that such a name can have.
  const name = `\0plimsoll/${createHash('sha256').update(root).digest('hex')}`;
  const server = createServer((socket) => {
    // Whoever asks may be gone before it is answered.
    socket.on('error', () => {});
    socket.end(String(process.pid));
  });
  try {
    await listen(server, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'))
      throw hostError('host.open', root, error);
    throw new HostError('EBUSY', 'host.open', root, {
      detail: `process ${(await holder(name)) ?? 'that does not answer'} has it open already`,
      cause: error,
    });
  }
  server.unref();
  return { release: () => void server.close() };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Who holds it; null where that is not told in time. */
function holder(name: string): Promise<string | null> {
  return new Promise((resolve) => {
    let said = '';
    const socket: Socket = connect(name);
    const end = (): void => {
      socket.destroy();
      resolve(said === '' ? null : said);
    };
    socket.setTimeout(ANSWER_WITHIN_MS, end);
    socket.on('data', (bytes) => (said += bytes.toString()));
    socket.on('end', end);
    socket.on('error', end);
  });
}
