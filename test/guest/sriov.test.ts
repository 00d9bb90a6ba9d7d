import { describe } from 'vitest';
import { GUEST_CONTRACTS } from '../contract/linux-functions.ts';
import { testInGuest } from './bodies.ts';

describe('virtual functions of two cards, in a guest', () => {
  testInGuest({
    contracts: GUEST_CONTRACTS,
    nics: 2,
    // The guest has no udev that would do it.
    modules: (
      'igb igbvf pktgen veth bridge br_netfilter macvlan vxlan nf_tables nft_chain_nat nft_masq nft_ct ' +
      'ip_tables iptable_filter iptable_nat xt_nat xt_conntrack xt_addrtype xt_MASQUERADE sch_htb'
    ).split(' '),
    // An engine that is killed thirty times takes its time.
    timeLimitMs: process.env['PLIMSOLL_LONG'] === '1' ? 1_800_000 : 600_000,
  });
});
