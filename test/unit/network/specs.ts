import type { NetworkSpec, VfDemand } from '../../../src/network/desired.ts';

/** Networks for tests, of each kind. */
export const bridge = (name: string, pool: string, more: Partial<NetworkSpec> = {}): NetworkSpec => ({
  name,
  kind: 'bridge',
  pool,
  internal: false,
  nat: true,
  ...more,
});
export const overlay = (name: string, pool: string, more: Partial<NetworkSpec> = {}): NetworkSpec => ({
  name,
  kind: 'overlay',
  pool,
  internal: false,
  nat: false,
  ...more,
});
export const intranet = (name: string, pool: string, more: Partial<NetworkSpec> = {}): NetworkSpec => ({
  name,
  kind: 'intranet',
  pool,
  internal: false,
  nat: false,
  ...more,
});

export const sriov = (name: string, pool: string, vf: VfDemand): NetworkSpec => ({
  name,
  kind: 'sriov',
  pool,
  internal: false,
  nat: false,
  vf,
});
