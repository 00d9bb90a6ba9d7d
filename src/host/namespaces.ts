import type { Applied } from './batch.ts';

/**
 * A network namespace as a host names it: the empty string is the host's own, `web` one that Plimsoll made on this host
 * (letters, digits, `-`, `_`, `.`), and `/proc/17/ns/net` somebody else's by its path, which is neither made nor removed.
 */
export type NamespaceName = string;

/** Network namespaces. */
export interface Namespaces {
  /** Makes them, with `lo` up, no forwarding and no IPv6; one that is there is left as it is. EINVAL for a name that cannot be one. */
  create(names: readonly NamespaceName[]): Promise<Applied>;
  /** Removes them with all links in them (a veth's other end goes too); one that is gone already is no error. */
  remove(names: readonly NamespaceName[]): Promise<Applied>;
  /** Those that Plimsoll made on this host, in order of name. */
  list(): Promise<readonly NamespaceName[]>;
}
