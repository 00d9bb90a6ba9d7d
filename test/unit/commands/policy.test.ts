import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
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

test.each([
  ['gaja', 'there is no policy "gaja": did you mean "gaia"?'],
  ['./none.ts', './none.ts: there is no such file'],
  [() => file('throw new Error("broken\\nbadly")'), 'fails as it is loaded: broken'],
  [() => file('export const policy = 1'), 'has no policy as its default export'],
  [() => file(`export default { ${LIMITS} }`), 'name must be a text'],
  [() => file("export default { name: 'm' }"), 'limits must be a function'],
  [() => file(`export default { name: 'm', ${LIMITS}, needs: ['moon'] }`), 'needs.0 must be of excess'],
  [() => file(`export default { name: 'm', ${LIMITS}, decide: 4 }`), 'decide must be a function'],
  [() => file("export default { name: 'm', limits: () => { throw new Error('no') } }"), 'policy m throws: no'],
  [
    () => file("export default { name: 'm', limits: () => ({ parentBytes: null, childBytes: [] }) }"),
    'limits of policy m for two requests: childBytes',
  ],
  [
    () => file(`export default { name: 'm', ${LIMITS}, actsAboveBytes: () => 'much' }`),
    'actsAboveBytes of policy m must be a number',
  ],
])('what is no policy is told in one line (%#)', async (bad, message) => {
  const error = await loadPolicy(typeof bad === 'string' ? bad : bad()).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(PolicyError);
  expect((error as Error).message).toContain(message);
  expect((error as Error).message).not.toContain('\n');
});
