// Floods, echoes and requests of the packet bench, each in a namespace. A process of its own: it has to be as fast as the kernel,
// and never waits for its parent. It ends with the channel, and so with whoever started it, however that ends.
import { writeSync } from 'node:fs';
import { ask } from '../../bench/nic/asking.ts';
import { answer, readLine } from '../../bench/nic/channel.ts';
import { echo } from '../../bench/nic/echoing.ts';
import { flood } from '../../bench/nic/flooding.ts';
import type { PacketOrder } from '../../bench/nic/packet-order.ts';

for (;;) {
  const order = JSON.parse(readLine()) as PacketOrder;
  let hasBegun = false;
  try {
    const begun = (): void => {
      hasBegun = true;
      answer({});
    };
    if (order.work === 'flood') flood(order, begun);
    else if (order.work === 'echo') echo(order, begun);
    else ask(order, begun);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (!hasBegun) answer({ refused: why });
    else {
      // What goes wrong later is told by its end.
      writeSync(2, `${why}\n`);
      process.exit(1);
    }
  }
}
