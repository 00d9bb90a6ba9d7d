import { describe } from 'vitest';
import { GUEST_CONTRACTS } from '../contract/linux-functions.ts';
import { testInGuest } from './bodies.ts';

describe('virtual functions of two cards, in a guest', () => {
  testInGuest({
    contracts: GUEST_CONTRACTS,
    nics: 2,
    // The guest has no udev that would do it.
    modules: ['igb'],
    // An engine that is killed thirty times takes its time.
    timeLimitMs: process.env['PLIMSOLL_LONG'] === '1' ? 1_800_000 : 600_000,
  });
});
