import { expect, test } from 'vitest';
import { EngineError } from '../../../src/engine/errors.ts';
import { SetAside } from '../../../src/engine/set-aside.ts';
import type { Step } from '../../../src/host/steps.ts';
import { linkKey } from '../../../src/network/functions-plan.ts';

const PORT = { namespace: '', name: 'plp-a' };
const OTHER_PORT = { namespace: '', name: 'plp-b' };
const made: Step = { verb: 'namespaces.create', with: 'a', why: '' };
const setOn = (link: typeof PORT): Step => ({ verb: 'links.set', with: { ...link, set: { up: true } }, why: '' });
const routeBy = ({ name }: typeof PORT): Step => ({
  verb: 'routing.add',
  with: { kind: 'route', namespace: '', link: name, to: '192.168.77.130/32' },
  why: '',
});
const holders = new Map([
  [linkKey(PORT), 'a'],
  [linkKey(OTHER_PORT), 'b'],
]);

test('whose namespace was refused has nothing done at his port on the host either, and the others have', () => {
  const setAside = new SetAside(() => holders);
  const refusal = new EngineError('namespaces.create a: the kernel refuses');
  expect([setOn(PORT), routeBy(PORT)].map((step) => setAside.holds(step))).toEqual([false, false]);
  setAside.take(made, refusal);
  expect([setOn(PORT), routeBy(PORT)].map((step) => setAside.holds(step))).toEqual([true, true]);
  expect([setOn(OTHER_PORT), routeBy(OTHER_PORT)].map((step) => setAside.holds(step))).toEqual([false, false]);
  expect(() => setAside.demand()).toThrow(refusal);
});

test('what is refused of a port sets its container aside; of the host’s own link it ends the round', () => {
  const setAside = new SetAside(() => holders);
  setAside.take(setOn(PORT), new EngineError('gone'));
  expect(setAside.holds(made)).toBe(true);
  expect(() => setAside.take(routeBy({ namespace: '', name: 'eth0' }), new EngineError('down'))).toThrow('down');
});

test('whose what is is asked only where something is refused', () => {
  const setAside = new SetAside(() => {
    throw new Error('nobody asked');
  });
  expect(setAside.holds(setOn(PORT))).toBe(false);
});
