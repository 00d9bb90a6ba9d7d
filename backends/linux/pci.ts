import { constants, readFileSync, readlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { PciAddress } from '../../src/host/virtual-functions.ts';
import { isAbsent } from './errors.ts';

/**
 * Cards by where they stand on the bus. Not by their links (/sys/class/net): those that a mount of sysfs shows are of the
 * namespace that it was mounted in (net_ns_type_operations, net/core/net-sysfs.c), while the bus is one for all.
 */
const BUS = '/sys/bus/pci';

const folderOf = (address: PciAddress): string => join(BUS, 'devices', address);

/** What sysfs tells of a card that can have VFs (Documentation/ABI/testing/sysfs-bus-pci). */
export interface Card {
  readonly address: PciAddress;
  /** Its PF driver's name. */
  readonly driver: string;
  readonly vendor: string;
  readonly totalVfs: number;
  readonly vfCount: number;
  /** Are new VFs given to their driver at once? */
  readonly autoprobe: boolean;
}

/** Null where it is none that can have VFs, or has no driver that makes them. */
export function cardAt(address: PciAddress): Card | null {
  const totalVfs = readIfThere(address, 'sriov_totalvfs');
  const driver = driverOf(address);
  if (totalVfs === null || totalVfs === '0' || driver === null) return null;
  return {
    address,
    driver,
    vendor: readIfThere(address, 'vendor') ?? '',
    totalVfs: Number(totalVfs),
    vfCount: Number(readIfThere(address, 'sriov_numvfs') ?? 0),
    autoprobe: probesOf(address),
  };
}

/** Null where it is bound to none. */
export const driverOf = (address: PciAddress): string | null => linkTo(address, 'driver');

/** Where a card's VF of this number stands; null where it has none. */
export const functionAt = (card: PciAddress, index: number): PciAddress | null => linkTo(card, `virtfn${index}`);

/** By what name the bus asks for a driver (MODALIAS). */
export const modalias = (address: PciAddress): string | null => readIfThere(address, 'modalias');

/**
 * Makes this many VFs, or takes all away, none of them given to a driver. `loadDriver` is called before drivers may have
 * them again: one that is loaded later takes all there are. The kernel is at it for seconds, on another thread.
 */
export const setVfCount = (
  card: PciAddress,
  { count, autoprobe }: { readonly count: number; readonly autoprobe?: boolean | undefined },
  loadDriver: () => Promise<void>,
): Promise<void> =>
  withheld(
    card,
    async () => {
      await write(card, 'sriov_numvfs', String(count));
      if (count > 0) await loadDriver();
    },
    autoprobe,
  );

/** Does something while no driver takes a VF of this card by itself. @param after whether one may then; as before unless set */
export async function withheld(
  card: PciAddress,
  work: () => Promise<void>,
  after: boolean = probesOf(card),
): Promise<void> {
  await setAutoprobe(card, false);
  try {
    await work();
  } finally {
    await setAutoprobe(card, after);
  }
}

/** Are new VFs of this card to be given to their driver at once? */
export const setAutoprobe = (card: PciAddress, autoprobe: boolean): Promise<void> =>
  write(card, 'sriov_drivers_autoprobe', autoprobe ? '1' : '0');

/** Gives a VF to whatever driver takes it. Where its card's VFs are given to none, that is lifted for the moment. */
export async function giveDriver(card: PciAddress, address: PciAddress): Promise<void> {
  const before = probesOf(card);
  if (!before) await setAutoprobe(card, true);
  try {
    await writeFile(join(BUS, 'drivers_probe'), address);
  } finally {
    if (!before) await setAutoprobe(card, before);
  }
}

/** Takes a function's driver from it. */
export const takeDriver = (address: PciAddress): Promise<void> => write(address, 'driver/unbind', address);

const probesOf = (card: PciAddress): boolean => readIfThere(card, 'sriov_drivers_autoprobe') !== '0';

/** Some may only be written, root or not. @throws what the kernel says: EBUSY, ERANGE of a number of VFs */
const write = (address: PciAddress, file: string, value: string): Promise<void> =>
  writeFile(join(folderOf(address), file), value, { flag: constants.O_WRONLY });

function readIfThere(address: PciAddress, file: string): string | null {
  try {
    return readFileSync(join(folderOf(address), file), 'latin1').trim();
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

function linkTo(address: PciAddress, file: string): string | null {
  try {
    return basename(readlinkSync(join(folderOf(address), file)));
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}
