import { Refusal } from './errors.ts';
import { hasFilterChain, type IptablesVariant, runIptables, VARIANTS } from './iptables-command.ts';
import type { NetworkRoot } from './netns.ts';
import { nftGeneration } from './nft-netlink.ts';

/** The chain that Docker leaves to others, and asks before its own rules. */
export const DOCKER_CHAIN = 'DOCKER-USER';

/** By this comment our rules in it are known. */
const MARK = 'plimsoll';

/** How the names of our links of the host's own namespace begin: bridges, host ends, tunnels. */
const LINKS = ['plb-+', 'plp-+', 'plx-+'];

/**
 * Docker sets FORWARD's policy to drop, so what our chains accept would still die after them. These let it pass; what
 * is not allowed our own chain, at an earlier priority, has dropped before.
 */
const RULES = LINKS.flatMap((link) =>
  ['-i', '-o'].map((way) => `-A ${DOCKER_CHAIN} ${way} ${link} -m comment --comment ${MARK} -j ACCEPT`),
);

const isOurs = (rule: string): boolean => rule.includes(` --comment ${MARK} `);

/** Our rules in Docker's chain. */
export class DockerUser {
  readonly #root: NetworkRoot;
  /** Of the variant in nf_tables, true as long as their generation is this. */
  #known: { readonly generation: number; readonly rules: string[] } | undefined;

  constructor(root: NetworkRoot) {
    this.#root = root;
  }

  /** What is not as it should be: ours at its head while a frame is laid, none of ours otherwise. Null: all is well. */
  async drift(isLaid: boolean): Promise<string | null> {
    for (const variant of VARIANTS) {
      const rules = await this.#rules(variant);
      if (rules !== null && !isRight(rules, isLaid))
        return `${DOCKER_CHAIN} (iptables-${variant}): ${isLaid ? 'our links are not let pass at its head' : 'rules of ours are left'}`;
    }
    return null;
  }

  /** Makes it so, and tells how to undo that. @throws Refusal */
  async set(isLaid: boolean): Promise<() => Promise<void>> {
    const undo: (() => Promise<void>)[] = [];
    for (const variant of VARIANTS) {
      const rules = await this.#rules(variant);
      if (rules === null || isRight(rules, isLaid)) continue;
      await this.#write(variant, rules, isLaid);
      undo.push(async () => await this.#write(variant, (await this.#rules(variant)) ?? [], rules.some(isOurs)));
    }
    return async () => {
      for (const step of undo) await step();
    };
  }

  /** The rules of the chain; null where there is none. */
  async #rules(variant: IptablesVariant): Promise<string[] | null> {
    if (!(await hasFilterChain(this.#root, variant, DOCKER_CHAIN))) return null;
    const generation = variant === 'nft' ? nftGeneration(this.#root) : null;
    if (generation !== null && this.#known?.generation === generation) return this.#known.rules;
    const { ok, stdout } = await runIptables(this.#root, variant, '', ['-S', DOCKER_CHAIN]);
    // Docker has just gone.
    if (!ok) return null;
    const rules = stdout.split('\n').filter((line) => line.startsWith('-A '));
    if (generation !== null) this.#known = { generation, rules };
    return rules;
  }

  /** In one transaction, and none of Docker's rules is touched. */
  async #write(variant: IptablesVariant, rules: readonly string[], isLaid: boolean): Promise<void> {
    const lines = [
      '*filter',
      ...rules.filter(isOurs).map((rule) => rule.replace('-A', '-D')),
      ...(isLaid ? RULES.toReversed().map((rule) => rule.replace(`-A ${DOCKER_CHAIN}`, `-I ${DOCKER_CHAIN} 1`)) : []),
      'COMMIT',
      '',
    ];
    const { ok, stderr } = await runIptables(this.#root, variant, '-restore', ['--noflush'], lines.join('\n'));
    if (!ok) throw new Refusal('EIO', `${DOCKER_CHAIN}: ${stderr.trim()}`, stderr);
  }
}

function isRight(rules: readonly string[], isLaid: boolean): boolean {
  const expected = isLaid ? RULES : [];
  return expected.every((rule, index) => rules[index] === rule) && rules.filter(isOurs).length === expected.length;
}
