/** Interpreted JavaScript runs 3 to 55 times slower in the guest than on the machine; time limits are multiplied by this. */
const SLOW = '10';

/** The variables that go along into the guest: the path to the same Node, and Plimsoll's own. */
export const environmentOf = (own: NodeJS.ProcessEnv): Record<string, string | undefined> => ({
  PATH: own['PATH'],
  PLIMSOLL_SLOW: SLOW,
  ...Object.fromEntries(Object.entries(own).filter(([name]) => name.startsWith('PLIMSOLL_'))),
});
