import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { openEtcdStore } from '../../backends/store/etcd.ts';
import { type EtcdServer, startEtcd, whyNoEtcd } from './etcd-server.ts';
import { STORE_CASES } from './store-cases.ts';

const reason = whyNoEtcd();
if (reason !== null) process.stdout.write(`skipped: contracts of the store in etcd: ${reason}\n`);

describe.skipIf(reason !== null)('the store in etcd', () => {
  let server: EtcdServer;
  beforeAll(async () => {
    server = await startEtcd(1);
  });
  afterAll(() => server.close());

  let count = 0;
  test.for(STORE_CASES)('%s: %s', async ([, , one]) => {
    const options = { endpoints: server.endpoints, namespace: `case-${count++}/` };
    const [store, another] = await Promise.all([openEtcdStore(options), openEtcdStore(options)]);
    try {
      await one.run({ store, another, ttlMs: 1000, sleep });
    } finally {
      store.close();
      another.close();
    }
  });
});
