import type { LinkKind } from '../../src/host/links.ts';
import type { Ability } from '../../src/host/machine.ts';
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from './fabric.ts';
import { linuxLinks } from './links.ts';
import { NetworkRoot } from './netns.ts';
import { runMark } from './owner.ts';

/** One link of each kind, and what brings the kind. */
const KINDS: readonly { readonly kind: LinkKind; readonly option: string }[] = [
  { kind: { type: 'veth', peer: { namespace: '', name: 'peer', alias: '' } }, option: 'CONFIG_VETH' },
  { kind: { type: 'bridge' }, option: 'CONFIG_BRIDGE' },
  { kind: { type: 'vxlan', vni: 1, local: '127.0.0.1', udpPort: 4789 }, option: 'CONFIG_VXLAN' },
  { kind: { type: 'macvlan', parent: 'peer' }, option: 'CONFIG_MACVLAN' },
];

/** Several may look at once. */
let looks = 0;

/** Which links this kernel makes, found by making one of each in a namespace of its own that is gone again at once. */
export async function networkAbilities(): Promise<Ability[]> {
  looks += 1;
  const mark = runMark(`look.abilities.${looks}`);
  try {
    makeOwnNamespace(mark);
  } catch (error) {
    return [{ name: 'network namespaces', present: false, detail: `${messageOf(error)}; it takes root` }];
  }
  try {
    const links = linuxLinks(new NetworkRoot({ mark, own: ownNamespaceOf(mark) }));
    const abilities: Ability[] = [];
    for (const { kind, option } of KINDS) {
      const { error } = await links.create([{ namespace: '', name: kind.type, alias: '', kind }]);
      abilities.push(
        error === undefined
          ? { name: `${kind.type} links`, present: true, detail: 'made one' }
          : {
              name: `${kind.type} links`,
              present: false,
              detail: `${error.message}; a kernel with ${option} makes them`,
            },
      );
    }
    return abilities;
  } finally {
    await removeNetwork(mark);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
