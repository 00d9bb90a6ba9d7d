import { linuxLinks } from '../../backends/linux/links.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { linuxRouting } from '../../backends/linux/routing.ts';
import { insist } from './picture.ts';
import { OWN_WIRE } from './wire.ts';

/** Gives this machine's link the address that the flood goes to, for as long as the work takes. @throws HostError ENODEV */
export async function withSinkAddress(link: string, work: () => Promise<void>): Promise<void> {
  const root = new NetworkRoot({ mark: runMark('nic-sink'), own: null });
  const [links, routing] = [linuxLinks(root), linuxRouting(root)];
  const address = {
    kind: 'address',
    namespace: '',
    link,
    prefix: `${OWN_WIRE.sink}/${OWN_WIRE.uplink.bits}`,
  } as const;
  const wasUp = (await links.list([''])).find(({ name }) => name === link)?.up ?? false;
  insist(await links.set([{ namespace: '', name: link, set: { up: true } }]));
  try {
    insist(await routing.add([address]));
    await work();
  } finally {
    // Also one that a killed sink left: nobody else has an address for benchmarks.
    insist(await routing.remove([address]));
    if (!wasUp) insist(await links.set([{ namespace: '', name: link, set: { up: false } }]));
  }
}
