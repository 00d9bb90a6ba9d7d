// Prints what the network of this process looks like to Plimsoll; its namespaces are those of the mark given.
import { linuxFirewall } from '../../backends/linux/firewall.ts';
import { linuxLinks } from '../../backends/linux/links.ts';
import { linuxNamespaces } from '../../backends/linux/namespaces.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { linuxRouting } from '../../backends/linux/routing.ts';
import { linuxVirtualFunctions } from '../../backends/linux/virtual-functions.ts';
import type { Host } from '../../src/host/host.ts';
import { observeNetwork } from '../../src/network/observe.ts';

const root = new NetworkRoot({ mark: process.argv[2]!, own: null });
const host: Pick<Host, 'namespaces' | 'links' | 'routing' | 'firewall' | 'virtualFunctions'> = {
  namespaces: linuxNamespaces(root),
  links: linuxLinks(root),
  routing: linuxRouting(root),
  firewall: linuxFirewall(root),
  virtualFunctions: linuxVirtualFunctions(root),
};
process.stdout.write(JSON.stringify(await observeNetwork(host as Host)));
