/** How a container's packets get to the wire. */
export type PacketPath = 'vf' | 'direct' | 'macvlan' | 'nat' | 'docker-nat' | 'overlay';

/** What the VFs that were measured are: a card's, a card's that QEMU emulates, or none. */
export type Functions = 'real' | 'emulated' | 'none';

/** As people call a path. A stand-in for a VF is never called one. */
export function pathLabel(path: PacketPath, functions: Functions): string {
  const labels = {
    vf: functions === 'emulated' ? 'SR-IOV VF (emulated)' : 'SR-IOV VF',
    direct: 'direct (no VF)',
    macvlan: 'macvlan',
    nat: 'NAT (Plimsoll)',
    'docker-nat': 'NAT (Docker)',
    overlay: 'overlay (VXLAN)',
  } as const;
  return labels[path];
}
