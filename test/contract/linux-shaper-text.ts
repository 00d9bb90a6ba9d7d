// What shapes a link of a real host, as `tc` tells it.
import { execFileSync, spawnSync } from 'node:child_process';
import type { LinkName } from '../../src/host/links.ts';

/** In a namespace by the name that `tc -n` takes; empty: the machine's own. */
function tc(file: string, ...words: string[]): string[] {
  const at = file === '' ? [] : ['-n', file];
  const { stdout, status } = spawnSync('tc', [...at, ...words], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n').filter((line) => line.trim() !== '') : [];
}

/** Lays an HTB of handle `1:`, with a class, as the root qdisc of a link. */
export async function layForeignQdisc(mark: string, { namespace, name }: LinkName): Promise<void> {
  const run = (...words: string[]): string =>
    execFileSync('tc', ['-n', namespace === '' ? mark : `${mark}+${namespace}`, ...words], { encoding: 'utf8' });
  run('qdisc', 'add', 'dev', name, 'root', 'handle', '1:', 'htb', 'default', '1');
  run('class', 'add', 'dev', name, 'parent', '1:', 'classid', '1:1', 'htb', 'rate', '1mbit');
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1e3, M: 1e6, G: 1e9 };

function bits(rate: string): number {
  const { number, unit } = /^(?<number>\d+)(?<unit>[KMG]?)bit$/.exec(rate)!.groups!;
  return Number(number) * UNITS[unit!]!;
}

/** Bursts in bytes, from the ticks of 64 ns that only `-raw` shows: tc rounds what it prints otherwise. */
const bytes = (ticks: string, rate: number): number =>
  Math.floor((Number.parseInt(ticks, 16) * 64e-9 * rate) / 8 + 1e-6);

const CLASS =
  /^class htb (?<minor>504c:\S+) (?:root|parent (?<parent>\S+)) (?:leaf (?<leaf>\S+) )?(?:prio 0 quantum (?<quantum>\d+) )?rate (?<rate>\S+) ceil (?<ceil>\S+) linklayer ethernet .*buffer \[(?<buffer>\S+)\] cbuffer \[(?<cbuffer>\S+)\]/;

/** The lines of `shaperLines`, of the link of this name in the namespace of this file. */
export function readShaper(file: string, name: string): string[] {
  const qdiscs = tc(file, 'qdisc', 'show', 'dev', name);
  const queueOf = (leaf: string): string =>
    / fq_codel | htb /.exec(qdiscs.find((line) => line.split(' ')[2] === leaf) ?? '')?.[0].trim() ?? 'unknown';
  const lines = qdiscs.flatMap((line) => {
    const root = /^qdisc (?<type>\S+) (?<handle>\S+) root .*/.exec(line)?.groups;
    if (root === undefined || root['handle'] === '0:') return [];
    if (root['handle'] !== '504c:' || root['type'] !== 'htb') return [`foreign ${root['type']} ${root['handle']}`];
    const number = / default (?:0x)?(?<number>\S+)/.exec(line)!.groups!['number']!;
    return [`qdisc htb 504c: default 504c:${number}`];
  });
  const classes = tc(file, '-raw', '-details', 'class', 'show', 'dev', name).flatMap((line) => {
    if (!line.startsWith('class htb 504c:')) return [];
    const found = CLASS.exec(line)?.groups;
    if (found === undefined) return [line];
    const { minor, parent = '504c:', leaf, quantum, rate, ceil, buffer, cbuffer } = found;
    const [rateBits, ceilBits] = [bits(rate!), bits(ceil!)];
    const burst = `burst ${bytes(buffer!, rateBits)} cburst ${bytes(cbuffer!, ceilBits)}`;
    const turn = quantum === undefined ? '' : ` quantum ${quantum}`;
    const queue = leaf === undefined ? '' : ` ${queueOf(leaf)}`;
    return [`class ${minor} parent ${parent} rate ${rateBits} ceil ${ceilBits} ${burst}${turn}${queue}`];
  });
  const filters = tc(file, 'filter', 'show', 'dev', name, 'parent', '504c:').flatMap((line) => {
    if (line.includes("bytecode '5,32 0 0 4294963220,37 2 0 1347223551,37 0 1 1347158016,22 0 0 0,6 0 0 0'"))
      return ['filter by mark'];
    // cls_fw without a handle maps marks to classes by itself; bpf tells its kind in a line of its own first.
    if (/ fw chain 0\s*$/.test(line)) return ['filter by mark'];
    return / bpf chain 0\s*$/.test(line) ? [] : [line];
  });
  return [...lines, ...classes, ...filters].sort();
}
