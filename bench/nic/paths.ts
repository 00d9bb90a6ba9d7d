import { directPath, shapedDirectPath } from './paths/direct.ts';
import { dockerPath } from './paths/docker.ts';
import { macvlanPath, shapedMacvlanPath } from './paths/macvlan.ts';
import { natPath, shapedNatPath } from './paths/nat.ts';
import { overlayPath, shapedOverlayPath } from './paths/overlay.ts';
import {
  bridgedOnlyPath,
  bridgedPath,
  bridgeMasqueradedPath,
  bridgeRoutedOnlyPath,
  bridgeRoutedPath,
  iptablesPath,
  masqueradedPath,
  routedPath,
  rulesPath,
  shapedMasqueradedPath,
  shapedRoutedPath,
  trackedPath,
} from './paths/plain.ts';
import type { PathPicture } from './picture.ts';
import type { Wire } from './wire.ts';

/** A way from a container to the wire. */
export interface PathSpec {
  readonly name: string;
  /** Rules of somebody else's firewall, laid by iptables-restore: how many of them a packet passes, and whether they masquerade. */
  readonly foreign?: { readonly rules: string; readonly passed: number; readonly translates: boolean };
  /** Do a bridge's frames pass the filter of IP (`net.bridge.bridge-nf-call-iptables`)? As beside a Docker unless set: they do. */
  readonly bridgeCalls?: boolean;
  /** What is on the host for so many containers. */
  picture(count: number, wire: Wire): PathPicture;
}

/** Those that people choose between. */
export const SHOWN: readonly PathSpec[] = [directPath, macvlanPath, natPath, dockerPath, overlayPath];

/** Those that tell what each part of a way costs. */
export const PARTS: readonly PathSpec[] = [
  routedPath,
  bridgedPath,
  bridgeRoutedPath,
  bridgedOnlyPath,
  bridgeRoutedOnlyPath,
  rulesPath(25),
  rulesPath(50),
  rulesPath(100),
  iptablesPath(25),
  iptablesPath(100),
  trackedPath,
  masqueradedPath,
  bridgeMasqueradedPath,
  shapedMasqueradedPath,
  shapedRoutedPath,
  shapedDirectPath,
  shapedMacvlanPath,
  shapedNatPath,
  shapedOverlayPath,
];
