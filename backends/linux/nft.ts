import { type Errno, HostError } from '../../src/host/errors.ts';
import type { FirewallFamily } from '../../src/host/firewall.ts';
import { Refusal } from './errors.ts';
import { differences, type FirewallContents, type FirewallEdit } from './firewall-contents.ts';
import type { NetworkRoot } from './netns.ts';
import { nftGeneration, nftTableFlags } from './nft-netlink.ts';
import { contentsOf, readListing, type TableListing } from './nft-listing.ts';
import { elementBatch, sendElements } from './nft-elements.ts';
import { FAMILIES, type NftScript, scriptOf, TABLE } from './nft-text.ts';
import { runTool } from './tool.ts';

/** Each listing in which nobody changed anything is whole; so many are tried. */
const LISTINGS_MAX = 5;

/** What strerror(3) says, and nft repeats; anything else it says is about its own language. */
const CODE_OF: Readonly<Record<string, Errno>> = {
  'Address family not supported by protocol': 'EOPNOTSUPP',
  'Cannot allocate memory': 'ENOMEM',
  'Device or resource busy': 'EBUSY',
  'File exists': 'EEXIST',
  'Invalid argument': 'EINVAL',
  'No such file or directory': 'ENOENT',
  'No space left on device': 'ENOSPC',
  'Operation not permitted': 'EPERM',
  'Operation not supported': 'EOPNOTSUPP',
  'Protocol error': 'EOPNOTSUPP',
  'Protocol not supported': 'EOPNOTSUPP',
};

/** The tables of one host: `inet plimsoll` and `bridge plimsoll` of its own namespace. */
export class NftFilter {
  readonly #root: NetworkRoot;
  /** True as long as the generation is this. */
  #known: { readonly generation: number; readonly contents: FirewallContents } | undefined;

  constructor(root: NetworkRoot) {
    this.#root = root;
  }

  /** What is there; from memory where nothing has changed since. */
  async read(): Promise<FirewallContents> {
    for (let tried = 1; tried <= LISTINGS_MAX; tried++) {
      const generation = nftGeneration(this.#root);
      if (this.#known?.generation === generation) return this.#known.contents;
      const listings = await Promise.allSettled(FAMILIES.map((family) => this.#list(family)));
      // What was told while somebody changed it may be half of each, and a table gone before it was told.
      if (nftGeneration(this.#root) !== generation) continue;
      const failed = listings.find((one) => one.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      const tables = listings.flatMap((one) => (one.status === 'fulfilled' && one.value !== null ? [one.value] : []));
      const contents = contentsOf(tables);
      this.#known = { generation, contents };
      return contents;
    }
    throw new Refusal('EAGAIN', 'nft: the rules here change faster than they can be listed', undefined);
  }

  /** Has anybody else changed anything since this was read or written? */
  isStale(): boolean {
    return this.#known !== undefined && this.#known.generation !== nftGeneration(this.#root);
  }

  /** Makes an edit in one transaction. @throws Refusal, HostError */
  async write(edit: FirewallEdit): Promise<void> {
    if (!this.#writeElements(edit)) await this.#writeScript(edit);
  }

  /** The quick way for a few elements. False: it is not for this edit. @throws Refusal */
  #writeElements(edit: FirewallEdit): boolean {
    const known = this.#known;
    if (edit.frame !== undefined || known?.contents !== edit.before) return false;
    const { gone, come } = differences(edit);
    const batch = elementBatch(gone, come, edit.after.sets);
    if (batch === null) return false;
    if (batch.length === 0) return true;
    // On top of what is known, or not at all: afterwards what was asked for is what is there.
    sendElements(this.#root, known.generation, batch);
    this.#known = { generation: (known.generation + 1) >>> 0, contents: edit.after };
    return true;
  }

  async #writeScript(edit: FirewallEdit): Promise<void> {
    const isThere = (family: FirewallFamily): boolean => nftTableFlags(this.#root, family, TABLE) !== null;
    const present = edit.frame === undefined ? [] : FAMILIES.filter(isThere);
    const script = scriptOf(edit, new Set(present));
    if (script.length === 0) return;
    const { ok, stderr } = await runTool(this.#root, 'nft', ['-f', '-'], textOf(script));
    if (!ok) throw refusalOf(stderr, script);
    // Ours was the only transaction since: then what we asked for is what is there. A frame is read back all the same.
    const known = this.#known;
    const generation = nftGeneration(this.#root);
    this.#known =
      edit.frame === undefined && known?.contents === edit.before && generation === (known.generation + 1) >>> 0
        ? { generation, contents: edit.after }
        : undefined;
  }

  /** Null where the table is not there. */
  async #list(family: FirewallFamily): Promise<TableListing | null> {
    const flags = nftTableFlags(this.#root, family, TABLE);
    if (flags === null) return null;
    const { ok, stdout, stderr } = await runTool(this.#root, 'nft', ['-j', 'list', 'table', family, TABLE]);
    if (!ok) throw refusalOf(stderr, []);
    return readListing(family, flags, stdout);
  }
}

const textOf = (script: NftScript): string => script.map(({ text }) => `${text}\n`).join('');

/** The first of nft's complaints: `/dev/stdin:3:5-9: Error: Could not process rule: No such file or directory`. */
function refusalOf(stderr: string, script: NftScript): Refusal | HostError {
  const [, line, said] = /^(?:[^\n:]*:(\d+):[\d-]+: )?(Error: .*)$/m.exec(stderr) ?? ['', undefined, stderr.trim()];
  const reason = /: ([^:]+)$/.exec(said ?? '')?.[1];
  const code = (reason === undefined ? undefined : CODE_OF[reason]) ?? 'EINVAL';
  const detail = `nft: ${said}`;
  const about = line === undefined ? undefined : script[Number(line) - 1]?.about;
  return about === undefined
    ? new Refusal(code, detail, stderr)
    : new HostError(code, 'firewall.apply', about, { detail, cause: stderr });
}
