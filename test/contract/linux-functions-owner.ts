// A process to be killed: takes over a host with a card, and lets containers come and go until it dies. It says each step that it took, a line each.
// node linux-functions-owner.ts LIFE START
import { openSqliteStore } from '../../backends/store/sqlite.ts';
import { createRandom } from '../../src/host/random.ts';
import { askFor, drawn, engineOn, type FunctionsLife, openLife } from './linux-functions-life.ts';

const life = JSON.parse(process.argv[2]!) as FunctionsLife;
const random = createRandom(life.seed).fork(`asked ${process.argv[3]}`);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const host = await openLife(life, openSqliteStore(life.storeFile));
const engine = engineOn(host, (told) => {
  if (told.kind === 'step') say(`${told.verb} ${told.target}`);
  if (told.kind === 'step' && told.error !== undefined) process.stderr.write(`${told.error}\n`);
  if (told.kind === 'note' && told.about === 'trouble') process.stderr.write(`${told.message}\n`);
});
say('open');
await engine.recover();
for (;;) await askFor(engine, host.store, life, drawn(random));
