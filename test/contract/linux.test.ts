import { describe, test } from 'vitest';
import { LINUX_CONTRACTS, runOnLinux, whyNotHere } from './linux.ts';

const reason = whyNotHere();
if (reason !== null) process.stdout.write(`skipped: contracts on the Linux host: ${reason}\n`);

describe.skipIf(reason !== null).for(Object.entries(LINUX_CONTRACTS))('%s on Linux', ([, cases]) => {
  test.for(cases.map((contractCase) => [contractCase.name, contractCase] as const))(
    '%s',
    { timeout: 120_000 },
    async ([, contractCase]) => await runOnLinux(contractCase),
  );
});
