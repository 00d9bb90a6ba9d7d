import { readFileSync } from 'node:fs';
import type { Ability } from '../../src/host/machine.ts';
import { DOCKER_CHAIN } from './docker-user.ts';
import { errnoOf, isAbsent } from './errors.ts';
import { hasFilterChain, type IptablesVariant, runIptables, VARIANTS } from './iptables-command.ts';
import type { NetworkRoot } from './netns.ts';
import { nftGeneration } from './nft-netlink.ts';
import { runTool } from './tool.ts';

const NFT_REMEDY =
  'install nftables, on a kernel with CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and CONFIG_NF_TABLES_BRIDGE';

/** Why nft cannot keep the firewall here, found by trying; null where it can. @throws Refusal EPERM where that takes root */
export async function whyNoNft(root: NetworkRoot): Promise<string | null> {
  try {
    nftGeneration(root);
  } catch (error) {
    if (errnoOf(error) === 'EPERM') throw error;
    return `the kernel has no nf_tables (${messageOf(error)})`;
  }
  try {
    const { ok, stderr } = await runTool(root, 'nft', ['--version']);
    return ok ? null : `nft does not run: ${stderr.trim()}`;
  } catch (error) {
    return messageOf(error);
  }
}

/** What keeps the firewall of this host, and what else stands in a packet's way. */
export async function firewallAbilities(root: NetworkRoot): Promise<Ability[]> {
  return [...(await keeping(root)), bridgeNetfilter(root), await passage(root)];
}

async function keeping(root: NetworkRoot): Promise<Ability[]> {
  const name = 'firewall (nft)';
  let why: string | null;
  try {
    why = await whyNoNft(root);
  } catch (error) {
    return [{ name, present: false, detail: `${messageOf(error)}; it takes root` }];
  }
  if (why === null) {
    const { stdout } = await runTool(root, 'nft', ['--version']);
    return [{ name, present: true, detail: `${stdout.trim()}; asked the kernel for its generation` }];
  }
  return [{ name, present: false, detail: `${why}; ${NFT_REMEDY}` }, await fallback(root)];
}

async function fallback(root: NetworkRoot): Promise<Ability> {
  const name = 'firewall (iptables and ipset), in its place';
  const lacks = 'frames of a bridge are not seen, so no container is kept from using the address of another';
  try {
    const rules = await runIptables(root, 'legacy', '-save', []);
    const sets = await runTool(root, 'ipset', ['list', '-name']);
    const failed = [rules, sets].find(({ ok }) => !ok);
    if (failed !== undefined) return { name, present: false, detail: `${failed.stderr.trim()}; ${NFT_REMEDY}` };
    return { name, present: true, detail: `listed the rules and sets there are; ${lacks}` };
  } catch (error) {
    return { name, present: false, detail: `${messageOf(error)}; ${NFT_REMEDY}` };
  }
}

/** Where it is 1, frames between two ports of one bridge pass the forward chains too, everybody's. */
function bridgeNetfilter(root: NetworkRoot): Ability {
  const name = 'bridge netfilter';
  const file = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  try {
    const value = root.within('', () => readFileSync(file, 'utf8')).trim();
    const passes =
      value === '1' ? 'bridged frames pass everybody’s forward chains' : 'bridged frames pass no IP filter';
    return { name, present: true, detail: `bridge-nf-call-iptables is ${value}: ${passes}` };
  } catch (error) {
    if (!isAbsent(error)) throw error;
    return { name, present: true, detail: 'not loaded: bridged frames pass no IP filter' };
  }
}

/** Can what our chains accept be forwarded, whatever other firewalls there are? */
async function passage(root: NetworkRoot): Promise<Ability> {
  const name = 'forwarding past other firewalls';
  const found: string[] = [];
  let present = true;
  for (const variant of VARIANTS) {
    if (!(await hasFilterChain(root, variant, 'FORWARD'))) continue;
    const drops = await dropsForwarded(root, variant);
    const docker = await hasFilterChain(root, variant, DOCKER_CHAIN);
    found.push(describe(variant, drops, docker));
    if (drops && !docker) present = false;
  }
  return { name, present, detail: found.join('; ') || 'iptables has no filter table here' };
}

async function dropsForwarded(root: NetworkRoot, variant: IptablesVariant): Promise<boolean> {
  const { stdout } = await runIptables(root, variant, '', ['-S', 'FORWARD']);
  return stdout.startsWith('-P FORWARD DROP');
}

function describe(variant: IptablesVariant, drops: boolean, docker: boolean): string {
  const policy = `iptables-${variant}: the policy of FORWARD is ${drops ? 'drop' : 'accept'}`;
  if (docker) return `${policy}, and Docker is here: rules of ours at the head of ${DOCKER_CHAIN} let our links pass`;
  return drops
    ? `${policy}, and nobody lets our links pass: accept plb-+, plp-+ and plx-+ there, as -i and as -o`
    : policy;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
