import { linuxFirewall } from '../../backends/linux/firewall.ts';
import { linuxLinks } from '../../backends/linux/links.ts';
import { linuxNamespaces } from '../../backends/linux/namespaces.ts';
import type { NetworkRoot } from '../../backends/linux/netns.ts';
import { linuxRouting } from '../../backends/linux/routing.ts';
import { linuxShaper } from '../../backends/linux/shaper.ts';
import type { PathHost } from './picture.ts';

/** What paths are laid with on Linux. */
export const linuxPathHost = (root: NetworkRoot): PathHost => ({
  namespaces: linuxNamespaces(root),
  links: linuxLinks(root),
  routing: linuxRouting(root),
  firewall: linuxFirewall(root),
  shaper: linuxShaper(root),
});
