import { configureGlobal } from 'fast-check';

/**
 * How properties run, in every test file: the same examples each time, unless PLIMSOLL_SEED names others or PLIMSOLL_LONG
 * asks for new ones. The reporter's line for a failed property sets PLIMSOLL_SEED and PLIMSOLL_PATH.
 */
const { PLIMSOLL_SEED: seed, PLIMSOLL_PATH: path, PLIMSOLL_LONG: long } = process.env;

/** Any number would do; this one is the year of the Merchant Shipping Act that made the mark law. */
const FIXED_SEED = 1876;

configureGlobal({
  ...(seed !== undefined ? { seed: Number(seed) } : long === '1' ? {} : { seed: FIXED_SEED }),
  ...(path !== undefined ? { path, endOnFailure: true } : {}),
});
