import { gaia } from './policies/gaia.ts';
import { hardLimit } from './policies/hard-limit.ts';
import { kernel } from './policies/kernel.ts';
import { kubelet } from './policies/kubelet.ts';
import { largestRss } from './policies/largest-rss.ts';
import type { MemoryPolicy } from './policy.ts';

/** The policies that Plimsoll ships, the default first. */
export const POLICIES: readonly MemoryPolicy[] = [gaia, hardLimit, kernel, largestRss, kubelet];

/** Names of the shipped policies. */
export const policyNames: readonly string[] = POLICIES.map((policy) => policy.name);

/** A shipped policy, or undefined where none has the name. */
export const policyByName = (name: string): MemoryPolicy | undefined => POLICIES.find((policy) => policy.name === name);
