import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { PolicyFault } from '../../../src/memory/checked.ts';
import { loadPolicy, PolicyError } from '../../../src/commands/policy.ts';

const folder = mkdtempSync(join(tmpdir(), 'plimsoll-policy-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const file = (text: string): string => {
  const path = join(folder, `own-${files++}.ts`);
  writeFileSync(path, text);
  return path;
};
const LIMITS = 'limits: (requests) => ({ parentBytes: null, childBytes: requests.map(() => null) })';

test('a shipped policy by its name', async () => {
  expect(await loadPolicy('kubelet')).toMatchObject({ policy: { name: 'kubelet' }, reference: { name: 'kubelet' } });
});

test("a user's own by its file, which a supervisor finds again", async () => {
  const path = file(
    `export default { name: 'mine', ${LIMITS}, decide(snapshot) { return [{ index: this.pick, reason: 'r' }]; }, pick: 3 }`,
  );
  const { policy, reference } = await loadPolicy(path);
  expect(reference).toEqual({ name: 'mine', file: path });
  expect(policy).toMatchObject({ name: 'mine', about: '', needs: ['workingSet'] });
  expect(policy.decide!({} as never)).toEqual([{ index: 3, reason: 'r' }]);
  expect('actsAboveBytes' in policy).toBe(false);
});

test('what a policy of a user answers later is checked too', async () => {
  const { policy } = await loadPolicy(file(`export default { name: 'm', ${LIMITS}, async decide() { return []; } }`));
  expect(() => policy.decide!({} as never)).toThrow(PolicyFault);
  expect(() => policy.decide!({} as never)).toThrow('policy m: decide gives a promise');
});

test.each([
  ['gaja', 'there is no policy "gaja": did you mean "gaia"?'],
  ['./none.ts', './none.ts: there is no such file'],
  [() => file('throw new Error("broken\\nbadly")'), 'fails as it is loaded: broken'],
  [() => file('export const policy = 1'), 'has no policy as its default export'],
  [() => file(`export default { ${LIMITS} }`), 'name must be a text'],
  [() => file("export default { name: 'm' }"), 'limits must be a function'],
  [() => file(`export default { name: 'm', ${LIMITS}, needs: ['moon'] }`), 'needs.0 must be of excess'],
  [() => file(`export default { name: 'm', ${LIMITS}, decide: 4 }`), 'decide must be a function'],
  [() => file("export default { name: 'm', limits: () => { throw new Error('no') } }"), 'policy m: limits throws: no'],
  [
    () => file("export default { name: 'm', limits: () => ({ parentBytes: null, childBytes: [] }) }"),
    'policy m: limits must give childBytes for each of 2 requests',
  ],
  [
    () => file(`export default { name: 'm', ${LIMITS}, actsAboveBytes: () => 'much' }`),
    'policy m: actsAboveBytes gives much: it must be a number of bytes',
  ],
])('what is no policy is told in one line (%#)', async (bad, message) => {
  const error = await loadPolicy(typeof bad === 'string' ? bad : bad()).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(PolicyError);
  expect((error as Error).message).toContain(message);
  expect((error as Error).message).not.toContain('\n');
});
