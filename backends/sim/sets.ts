import { elementKey, type FirewallElement, type FirewallSet } from '../../src/host/firewall.ts';
import { AddressError } from '../../src/host/ipv4.ts';
import { FIELDS, isAddressField, parseValue, valueOf, type Wanted } from './fields.ts';
import type { HostNetwork, Network } from './network.ts';
import type { Packet } from './packet.ts';

/** Elements below one field: by the bits that count, then by value; whole values first. */
export type Level = { readonly mask: number; readonly below: Map<number, Node> }[];

/** What lies below a value: the next field's level, or after the last field the element itself. */
export interface Node {
  readonly level: Level;
  /** What a map maps to; empty in a set. Null: no element ends here. */
  mapped: readonly number[] | null;
}

/** A named set or map with its elements: a lookup takes one hash a field, and one more for each length of prefix in it. */
export class NamedSet {
  readonly spec: FirewallSet;
  readonly #network: Network;
  /** All elements, below the first field. */
  readonly root: Level = [];
  readonly #elements = new Map<string, FirewallElement>();

  constructor(network: Network, spec: FirewallSet) {
    this.#network = network;
    this.spec = spec;
  }

  get elements(): Iterable<FirewallElement> {
    return this.#elements.values();
  }

  /** Refuses an element that is not of this set's kind. @throws AddressError */
  check(element: FirewallElement, purpose: 'add' | 'remove'): void {
    this.#path(element.key);
    if (purpose === 'add' || element.value !== undefined) this.#mapped(element);
  }

  /** Of a map, one with another value is replaced. @throws AddressError where it is not of this set's kind */
  add(element: FirewallElement): void {
    const mapped = this.#mapped(element);
    const path = this.#path(element.key);
    let level = this.root;
    let node: Node | undefined;
    for (const { value, mask } of path) {
      let group = level.find((each) => each.mask === mask);
      if (group === undefined) {
        group = { mask, below: new Map() };
        level.push(group);
        level.sort((a, b) => (b.mask >>> 0) - (a.mask >>> 0));
      }
      node = group.below.get(value);
      if (node === undefined) group.below.set(value, (node = { level: [], mapped: null }));
      level = node.level;
    }
    node!.mapped = mapped;
    this.#elements.set(element.key, element);
  }

  /** @throws AddressError */
  remove(key: string): void {
    const path = this.#path(key);
    if (!this.#elements.delete(key)) return;
    const last = path.pop()!;
    let level = this.root;
    for (const { value, mask } of path) level = level.find((each) => each.mask === mask)?.below.get(value)?.level ?? [];
    level.find(({ mask }) => mask === last.mask)?.below.delete(last.value);
  }

  #path(key: string): Wanted[] {
    return this.#parse(key, this.spec.fields, this.spec.intervals === true);
  }

  #mapped({ key, value }: FirewallElement): readonly number[] {
    const { to, name } = this.spec;
    if ((to === undefined) !== (value === undefined))
      throw new AddressError(`"${key}" ${to ? 'needs' : 'cannot have'} a value: ${name} is a ${to ? 'map' : 'set'}`);
    return to === undefined ? [] : this.#parse(value!, to, false).map(({ value }) => value);
  }

  #parse(text: string, fields: FirewallSet['fields'], intervals: boolean): Wanted[] {
    const parts = text.split(' . ');
    if (parts.length !== fields.length)
      throw new AddressError(`"${text}" has ${parts.length} fields, not ${fields.length}: ${fields.join(' . ')}`);
    return parts.map((part, index) => {
      const field = fields[index]!;
      if (part.includes('/') && !(intervals && isAddressField(field)))
        throw new AddressError(`"${part}" is an interval, and ${this.spec.name} holds none of ${field}`);
      return parseValue(this.#network, field, part);
    });
  }
}

/** What the packet's values of the fields from `depth` on map to, below this level; null: they are not there. */
export function findBelow(
  level: Level,
  fields: readonly number[],
  depth: number,
  packet: Packet,
  host: HostNetwork,
): readonly number[] | null {
  const value = valueOf(fields[depth]!, packet, host);
  for (const group of level) {
    const node = group.below.get(value & group.mask);
    if (node === undefined) continue;
    const found = depth + 1 === fields.length ? node.mapped : findBelow(node.level, fields, depth + 1, packet, host);
    if (found !== null) return found;
  }
  return null;
}

/** All elements in order of key. */
export const elementsOf = (sets: Iterable<NamedSet>): FirewallElement[] =>
  [...sets]
    .flatMap(({ elements }) => [...elements])
    .map((element) => ({ element, key: elementKey(element) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ element }) => element);

/** The numbers of fields. */
export const fieldNumbers = (fields: FirewallSet['fields']): readonly number[] =>
  fields.map((field) => FIELDS.indexOf(field));
