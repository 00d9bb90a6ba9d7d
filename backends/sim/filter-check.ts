import { HostError } from '../../src/host/errors.ts';
import type { FirewallChain, FirewallFrame, FirewallRule } from '../../src/host/firewall.ts';
import { checkFrame, ruleLine } from '../../src/host/firewall-check.ts';
import { isBitField } from './fields.ts';

/** Refuses a frame that nobody could lay, or that is not modelled. @throws HostError EINVAL, EOPNOTSUPP */
export function checkModelled(frame: FirewallFrame): void {
  checkFrame(frame);
  for (const chain of frame.chains)
    for (const rule of chain.rules) {
      const detail = whyNotModelled(chain, rule);
      if (detail !== null) throw new HostError('EOPNOTSUPP', 'firewall.apply', ruleLine(chain, rule), { detail });
    }
}

/** On a bridge the kernel follows flows by another module (nf_conntrack_bridge), and looks no address up. */
function whyNotModelled({ family }: FirewallChain, { when }: FirewallRule): string | null {
  const asked = when.flatMap(({ fields }) => fields).find((field) => isBitField(field) || field === 'fib daddr type');
  return family === 'bridge' && asked !== undefined ? `"${asked}" on a bridge is not modelled` : null;
}
