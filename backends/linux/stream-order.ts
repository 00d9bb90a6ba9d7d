import type { Errno } from '../../src/host/errors.ts';
import type { StreamPlace, Stream } from '../../src/host/probes.ts';

/** A place to receive at, for a process that knows nothing of hosts. */
export interface ReceiveOrder extends Pick<StreamPlace, 'port' | 'protocol'> {
  readonly namespaceFile: string;
}

/** A stream to send. */
export interface SendOrder extends Omit<Stream, 'from'> {
  readonly namespaceFile: string;
}

/** What a process of streams is to do; comes as one line of JSON on descriptor 3. */
export type StreamOrder =
  | { readonly work: 'receive'; readonly orders: readonly ReceiveOrder[] }
  | { readonly work: 'send'; readonly orders: readonly SendOrder[] };

/** Its first answer, a line too: what it cannot do of it, or nothing. Then of a receiver one of wire bytes for each line. */
export interface StreamAnswer {
  readonly refused?: { readonly index: number; readonly code: Errno; readonly detail: string };
}
