import { describe } from 'vitest';
import { LINUX_CONTRACTS } from '../contract/linux.ts';
import { testInGuest } from './bodies.ts';

/** What version 2 has to do with, and what another kernel could do otherwise; the tools of the firewall are the same here and there. */
const CAPABILITIES = [
  'cgroups',
  'containers',
  'supervision',
  'machine',
  'clock',
  'crashes',
  'namespaces',
  'routing',
  'shaper',
  'shaper on packets',
  'shaper on Linux alone',
  'probes',
  'firewall on packets',
];

describe('on cgroup v2, in a guest', () => {
  testInGuest({
    contracts: Object.fromEntries(CAPABILITIES.map((capability) => [capability, LINUX_CONTRACTS[capability]!])),
    nics: 0,
    timeLimitMs: 900_000,
  });
});
