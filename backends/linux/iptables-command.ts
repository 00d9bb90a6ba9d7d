import { readFileSync } from 'node:fs';
import { errnoOf, isAbsent, Refusal } from './errors.ts';
import type { NetworkRoot } from './netns.ts';
import { hasIptablesChain } from './nft-netlink.ts';
import { runTool, type ToolResult } from './tool.ts';

/** Where iptables keeps its rules: in tables of its own, or in nf_tables (xtables-nft(8)). Both may hold some at once. */
export type IptablesVariant = 'legacy' | 'nft';

export const VARIANTS: readonly IptablesVariant[] = ['nft', 'legacy'];

/** As long as others hold its lock. */
const LOCK_WAIT_S = '5';

/** Runs `iptables` (or `iptables-restore`, `iptables-save`) of a variant. @throws Refusal EOPNOTSUPP where there is none */
export async function runIptables(
  root: NetworkRoot,
  variant: IptablesVariant,
  ending: '' | '-restore' | '-save',
  args: readonly string[],
  input?: string,
): Promise<ToolResult> {
  // Of `-save` there is nothing to lock.
  const waiting = ending === '-save' ? [] : ['-w', LOCK_WAIT_S];
  try {
    return await runTool(root, `iptables-${variant}${ending}`, [...waiting, ...args], input);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new Refusal(
      'EOPNOTSUPP',
      `there is no iptables-${variant}${ending} here: install iptables 1.8 or newer`,
      error,
    );
  }
}

/** Does this variant's filter table have this chain? Asked so that no table comes into being by it. */
export async function hasFilterChain(root: NetworkRoot, variant: IptablesVariant, chain: string): Promise<boolean> {
  if (variant === 'nft') return hasNftChain(root, chain);
  if (!legacyTables(root).includes('filter')) return false;
  return (await runIptables(root, variant, '', ['-S', chain])).ok;
}

function hasNftChain(root: NetworkRoot, chain: string): boolean {
  try {
    return hasIptablesChain(root, 'filter', chain);
  } catch (error) {
    // A kernel without nf_tables holds none of its chains.
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/** The tables that the legacy variant has in this namespace: naming one on its command line would make it. */
export function legacyTables(root: NetworkRoot): string[] {
  try {
    return root.within('', () => readFileSync('/proc/thread-self/net/ip_tables_names', 'utf8')).split('\n');
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}
