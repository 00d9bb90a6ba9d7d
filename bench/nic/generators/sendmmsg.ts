import type { Generator } from '../generator.ts';
import { Senders } from './processes.ts';

/** Sixty-four datagrams a system call, each of which walks the whole path by itself. */
export function sendmmsg(): Generator {
  const senders = new Senders('sendmmsg');
  return {
    name: 'sendmmsg',
    payloadBytesMin: 1,
    whyNot: async () => null,
    start: (place, flood) => senders.start(place, flood),
    close: () => senders.close(),
  };
}
