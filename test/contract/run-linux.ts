// Runs the contract bodies on this machine with nothing but Node: `node test/contract/run-linux.ts [TEXT...]`, which picks
// those whose name holds one of the texts. One line of JSON a body; exit code 1 if one failed.
import { cardsOfGuest, GUEST_CONTRACTS, runWithCards } from './linux-functions.ts';
import { LINUX_CONTRACTS, runOnLinux, whyNotHere } from './linux.ts';

const reason = whyNotHere();
if (reason !== null) {
  process.stderr.write(`${reason}\n`);
  process.exit(3);
}

const wanted = process.argv.slice(2);
const cards = cardsOfGuest();
const contracts = cards === null ? LINUX_CONTRACTS : { ...LINUX_CONTRACTS, ...GUEST_CONTRACTS };
for (const [capability, cases] of Object.entries(contracts)) {
  for (const contractCase of cases) {
    const name = `${capability}: ${contractCase.name}`;
    if (wanted.length > 0 && !wanted.some((text) => name.includes(text))) continue;
    const begun = performance.now();
    let error: Error | undefined;
    try {
      await (cards !== null && capability in GUEST_CONTRACTS
        ? runWithCards(contractCase, cards)
        : runOnLinux(contractCase));
    } catch (thrown) {
      error = thrown instanceof Error ? thrown : new Error(JSON.stringify(thrown));
      process.exitCode = 1;
    }
    const tookMs = Math.round(performance.now() - begun);
    const failure = error === undefined ? {} : { error: error.message };
    process.stdout.write(`${JSON.stringify({ name, passed: error === undefined, tookMs, ...failure })}\n`);
  }
}
