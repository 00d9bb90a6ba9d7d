import type { FirewallElement, FirewallFrame, FirewallSet } from '../../src/host/firewall.ts';
import { elementKey, frameLines } from '../../src/host/firewall.ts';
import { errnoOf, Refusal } from './errors.ts';
import { setKey } from '../../src/host/firewall-check.ts';
import { differences, type FirewallContents, type FirewallEdit, NOTHING, placeOf } from './firewall-contents.ts';
import { legacyTables, runIptables } from './iptables-command.ts';
import { type IptablesLayout, OURS, parseSave, scriptBetween, strayLines } from './iptables-layout.ts';
import { type Edition, ipsetName, layoutOf, MANIFEST, recordOf } from './iptables-text.ts';
import { fromIpset, ipsetTypeOf, toIpset } from './ipset.ts';
import type { NetworkRoot } from './netns.ts';
import { parseFrame } from './rule-text.ts';
import { runTool } from './tool.ts';

/** What is there of ours in iptables and ipset. */
interface Snapshot {
  readonly layout: IptablesLayout;
  /** By name: what kind, and the elements as ipset writes them. */
  readonly ipsets: ReadonlyMap<string, { readonly type: string; readonly elements: readonly string[] }>;
  /** What was laid, as far as the manifest tells. */
  readonly laid: { readonly frame: FirewallFrame; readonly edition: Edition } | null;
}

/** The firewall where there is no nft: iptables' legacy variant, with ipset. It knows no frames of a bridge. */
export class IptablesFilter {
  readonly #root: NetworkRoot;

  constructor(root: NetworkRoot) {
    this.#root = root;
  }

  async read(): Promise<FirewallContents> {
    return contentsOf(await this.#look());
  }

  /** It is always worked out from what was just read. */
  isStale(): boolean {
    return false;
  }

  /** Makes an edit: sets first, then rules; where the rules are refused, the sets are put back. */
  async write(edit: FirewallEdit): Promise<void> {
    const now = await this.#look();
    if (edit.frame === undefined) await this.#writeElements(now, edit);
    else if (edit.frame === null) {
      await this.#setLayout(now.layout, new Map());
      await this.#ipset([...now.ipsets.keys()].map((name) => `destroy ${name}`));
    } else await this.#writeFrame(now, edit.frame, edit.after);
  }

  async #writeFrame(now: Snapshot, frame: FirewallFrame, after: FirewallContents): Promise<void> {
    const edition: Edition = now.laid?.edition === 'a' ? 'b' : 'a';
    const elements = [...after.elements.values()];
    const layout = layoutOf(frame, edition, elements);
    const held = frame.sets.filter((set) => ipsetTypeOf(set) !== null);
    const names = held.map((set) => ipsetName(edition, set));
    // Sets of this edition that nobody looks into any more: a crash left them.
    await this.#ipset(names.filter((name) => now.ipsets.has(name)).map((name) => `destroy ${name}`));
    try {
      await this.#ipset([
        ...held.map((set) => `create ${ipsetName(edition, set)} ${ipsetTypeOf(set)}`),
        ...elements.flatMap((element) => ipsetLine('add', edition, after.sets, element)),
      ]);
      await this.#setLayout(now.layout, layout);
    } catch (error) {
      const left = await this.#look();
      await this.#ipset(names.filter((name) => left.ipsets.has(name)).map((name) => `destroy ${name}`));
      throw error;
    }
    await this.#ipset([...now.ipsets.keys()].filter((name) => !names.includes(name)).map((name) => `destroy ${name}`));
  }

  async #writeElements(now: Snapshot, edit: FirewallEdit): Promise<void> {
    const { gone, come } = differences(edit);
    if (now.laid === null || gone.length + come.length === 0) return;
    const { frame, edition } = now.laid;
    const { sets } = edit.after;
    const lines = (remove: typeof gone, add: typeof gone): string[] => [
      ...remove.flatMap((element) => ipsetLine('del', edition, sets, element)),
      ...add.flatMap((element) => ipsetLine('add', edition, sets, element)),
    ];
    const layout = layoutOf(frame, edition, [...edit.after.elements.values()]);
    try {
      await this.#ipset(lines(gone, come));
      await this.#setLayout(now.layout, layout);
    } catch (error) {
      await this.#ipset(lines(come, gone));
      throw error;
    }
  }

  /** One `iptables-restore`; its tables are each whole or not at all, so that after a failure all are put back. */
  async #setLayout(from: IptablesLayout, to: IptablesLayout): Promise<void> {
    const refused = await this.#restore(scriptBetween(from, to));
    if (refused === null) return;
    const back = await this.#restore(scriptBetween((await this.#look()).layout, from));
    throw new Refusal(
      'EINVAL',
      back === null ? refused : `${refused}; and it could not be put back: ${back}`,
      undefined,
    );
  }

  async #restore(script: string): Promise<string | null> {
    if (script === '') return null;
    const { ok, stderr } = await runIptables(this.#root, 'legacy', '-restore', ['--noflush'], script);
    return ok ? null : stderr.trim();
  }

  async #ipset(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const { ok, stderr } = await runTool(this.#root, 'ipset', ['restore', '-exist'], `${lines.join('\n')}\n`);
    if (ok) return;
    const full = stderr.includes('Hash is full');
    throw new Refusal(
      full ? 'ENOSPC' : 'EINVAL',
      full ? `${stderr.trim()}: of one network, or none, it holds 64 links` : stderr.trim(),
      stderr,
    );
  }

  async #look(): Promise<Snapshot> {
    const layout = new Map<string, IptablesLayout extends ReadonlyMap<string, infer T> ? T : never>();
    if (legacyTables(this.#root).length > 0) {
      const { ok, stdout, stderr } = await runIptables(this.#root, 'legacy', '-save', []);
      if (!ok) throw new Refusal('EIO', stderr.trim(), stderr);
      for (const [name, table] of parseSave(stdout)) layout.set(name, table);
    }
    const { ok, stdout, stderr } = await this.#saveSets();
    if (!ok) throw new Refusal('EIO', stderr.trim(), stderr);
    return { layout, ipsets: parseIpsets(stdout), laid: laidBy(layout) };
  }

  async #saveSets() {
    try {
      return await runTool(this.#root, 'ipset', ['save']);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw new Refusal('EOPNOTSUPP', 'there is neither nft nor ipset here: install nftables, or ipset', error);
    }
  }
}

function ipsetLine(
  command: 'add' | 'del',
  edition: Edition,
  sets: ReadonlyMap<string, FirewallSet>,
  { family, set: name, key }: FirewallElement,
): string[] {
  const set = sets.get(setKey({ family, name }))!;
  return ipsetTypeOf(set) === null ? [] : [`${command} ${ipsetName(edition, set)} ${toIpset(set, key)}`];
}

function parseIpsets(output: string): Snapshot['ipsets'] {
  const ipsets = new Map<string, { type: string; elements: string[] }>();
  for (const line of output.split('\n')) {
    const [command, name = '', what = ''] = line.split(' ');
    if (!name.startsWith(`${OURS}.`)) continue;
    if (command === 'create') ipsets.set(name, { type: what, elements: [] });
    else if (command === 'add') ipsets.get(name)!.elements.push(what);
  }
  return ipsets;
}

/** What the remarks of a chain say. */
const remarks = (layout: IptablesLayout, chain: string): string[] =>
  (layout.get('filter')?.chains.get(chain) ?? []).map((rule) => /--comment "(.*)"$/.exec(rule)?.[1] ?? rule);

function laidBy(layout: IptablesLayout): Snapshot['laid'] {
  const [first, ...lines] = remarks(layout, MANIFEST);
  const edition = /^edition ([ab])$/.exec(first ?? '')?.[1] as Edition | undefined;
  const frame = edition === undefined ? null : parseFrame(lines);
  return frame === null ? null : { frame, edition: edition! };
}

function contentsOf({ layout, ipsets, laid }: Snapshot): FirewallContents {
  const isBare = [...layout.values()].every(({ chains, jumps, late }) => chains.size + jumps.size + late.size === 0);
  if (isBare && ipsets.size === 0) return NOTHING;
  if (laid === null) {
    const names = [...ipsets.keys()].map((name) => `ipset ${name}`);
    return { ...NOTHING, lines: [...strayLines(layout, new Map()), ...names] };
  }
  const { frame, edition } = laid;
  const elements = frame.sets.flatMap((set) =>
    elementsOf(set, layout, ipsets.get(ipsetName(edition, set))?.elements ?? []),
  );
  const expected = new Map(
    frame.sets.flatMap((set) => {
      const type = ipsetTypeOf(set);
      return type === null ? [] : [[ipsetName(edition, set), type]];
    }),
  );
  const odd = [...new Set([...ipsets.keys(), ...expected.keys()])]
    .filter((name) => ipsets.get(name)?.type !== expected.get(name))
    .map((name) => `ipset ${name}: ${ipsets.get(name)?.type ?? 'not there'}`);
  return {
    lines: [...frameLines(frame), ...strayLines(layout, layoutOf(frame, edition, elements)), ...odd],
    sets: new Map(frame.sets.map((set) => [setKey(set), set])),
    elements: new Map(elements.map((element) => [placeOf(element), element])),
  };
}

function elementsOf(set: FirewallSet, layout: IptablesLayout, held: readonly string[]): FirewallElement[] {
  const { family, name } = set;
  if (ipsetTypeOf(set) !== null) return held.map((text) => ({ family, set: name, key: fromIpset(set, text) }));
  const prefix = elementKey({ family, set: name, key: '' });
  return remarks(layout, recordOf(set)).map((text) => {
    const [key = '', value] = text.slice(prefix.length).split(' : ');
    return { family, set: name, key, ...(value === undefined ? {} : { value }) };
  });
}
