import { HostError } from '../../src/host/errors.ts';
import { PacketProcess } from './packet-process.ts';
import { ECHO_PORT } from './sink.ts';

/** A process that answers. */
export interface Echo {
  close(): Promise<void>;
}

/** Answers UDP and TCP at ECHO_PORT in the namespace of this file. @throws HostError where somebody else does */
export async function startEcho(namespaceFile: string): Promise<Echo> {
  const process = new PacketProcess();
  try {
    await process.begin({ work: 'echo', namespaceFile, port: ECHO_PORT }, `answers at port ${ECHO_PORT} of the sink`);
  } catch (error) {
    await process.end();
    throw new HostError('EIO', 'bench nic', 'sink', {
      cause: error,
      detail: `${error instanceof Error ? error.message : String(error)}; does another sink, or an echo service, answer there?`,
    });
  }
  return { close: () => process.end() };
}
