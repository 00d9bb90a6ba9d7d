// What the bodies of virtual functions need around them: the cards of a guest, in the guest's own namespace.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { ContractCase } from './contract.ts';
import { linuxFunctionsContract } from './linux-functions-contract.ts';
import { linksContract } from './links.ts';
import { linuxFunctionsCrashContract } from './linux-functions-crash.ts';
import { packetCardsContract } from './linux-packet-cards.ts';
import { pktgenContract } from './linux-packets.ts';
import { runOnLinux, waitUntil } from './linux.ts';
import { virtualFunctionLinksContract } from './virtual-function-links.ts';
import { virtualFunctionsContract } from './virtual-functions.ts';

/** The bodies that need cards with VFs, by capability: they run in a guest, whose cards are nobody's. */
export const GUEST_CONTRACTS: Readonly<Record<string, readonly ContractCase[]>> = {
  'virtual functions': virtualFunctionsContract,
  'links of virtual functions': virtualFunctionLinksContract,
  'virtual functions on Linux alone': linuxFunctionsContract,
  'an engine with virtual functions': linuxFunctionsCrashContract,
  'the packet bench with cards': packetCardsContract,
  'the packet bench by the kernel': pktgenContract,
  // This kernel, too, is asked for what was mended for it.
  'links of a kernel before 6.18': linksContract.filter(({ name }) => name.startsWith('a macvlan in a namespace')),
};

const LINKS = '/sys/class/net';

/** The PFs of the guest that this runs in; null where it is no guest, or has not two. */
export function cardsOfGuest(): readonly [string, string] | null {
  if (!readFileSync('/proc/cmdline', 'latin1').includes('plimsoll.run=')) return null;
  const [first, second] = readdirSync(LINKS)
    .filter((name) => existsSync(`${LINKS}/${name}/device/sriov_totalvfs`))
    .sort();
  return first === undefined || second === undefined ? null : [first, second];
}

/** Runs one body with both cards up and without VFs, and leaves them without. */
export async function runWithCards(contractCase: ContractCase, pfs: readonly [string, string]): Promise<void> {
  await reset(pfs);
  try {
    await runOnLinux(contractCase, pfs);
  } finally {
    await reset(pfs);
  }
}

async function reset(pfs: readonly [string, string]): Promise<void> {
  for (const pf of pfs) {
    const count = `${LINKS}/${pf}/device/sriov_numvfs`;
    if (readFileSync(count, 'latin1').trim() !== '0') writeFileSync(count, '0');
    writeFileSync(`${LINKS}/${pf}/device/sriov_drivers_autoprobe`, '1');
    execFileSync('ip', ['link', 'set', 'dev', pf, 'up']);
  }
  for (const pf of pfs)
    await waitUntil(() => readFileSync(`${LINKS}/${pf}/carrier`, 'latin1').trim() === '1', `the link of ${pf}`);
}
