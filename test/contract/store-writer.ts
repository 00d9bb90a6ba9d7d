// A process that adds to a counter in a SQLite store, `node store-writer.ts FILE COUNT`, once its key `go` is there, and says each number once its commit has resolved.
import { writeSync } from 'node:fs';
import { openSqliteStore } from '../../backends/store/sqlite.ts';

const [file, count] = process.argv.slice(2);
const store = openSqliteStore(String(file));
// So that several begin at the same moment, however long each took to start.
while ((await store.read('go')).length === 0);
for (let done = 0; done < Number(count);) {
  const [entry] = await store.read('counter');
  const next = Number(entry?.value ?? 0) + 1;
  const { committed } = await store.commit({
    expect: [{ key: 'counter', revision: entry?.revision ?? 0 }],
    put: [
      { key: 'counter', value: String(next) },
      { key: `numbers/${next}`, value: String(process.pid) },
    ],
  });
  if (!committed) continue;
  done++;
  writeSync(1, `${next}\n`);
}
store.close();
