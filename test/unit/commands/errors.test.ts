import { describe, expect, test } from 'vitest';
import { told, UsageError } from '../../../src/commands/errors.ts';
import { EngineError } from '../../../src/engine/errors.ts';
import { HostError } from '../../../src/host/errors.ts';
import { ScenarioError } from '../../../src/scenario/errors.ts';
import { Interrupted } from '../../../src/scenario/run.ts';

const refusal = new HostError('EPERM', 'cgroups.create', 'web');
const QUIET = {};

describe('an error is told', () => {
  test.each([
    [new UsageError('no such command'), 2, 'plimsoll: no such command\n'],
    [new ScenarioError('a.yaml', [{ line: 3, message: 'wrong' }]), 2, 'plimsoll: a.yaml:3: wrong\n'],
    [refusal, 3, 'plimsoll: cgroups.create web: not permitted (EPERM)\n'],
    [new EngineError('no step', refusal), 3, 'plimsoll: no step\n'],
    [
      new Interrupted('the run was interrupted'),
      130,
      'plimsoll: the run was interrupted; everything it made is gone\n',
    ],
    [
      new TypeError('x is not\na function'),
      1,
      'plimsoll: failed unexpectedly: x is not; set PLIMSOLL_DEBUG=1 to see where\n',
    ],
    ['thrown text', 1, 'plimsoll: failed unexpectedly: thrown text; set PLIMSOLL_DEBUG=1 to see where\n'],
  ])('%s', (error, code, text) => {
    expect(told(error, QUIET)).toEqual({ text, code });
  });

  test('with its stack and causes to those who ask', () => {
    const { text } = told(new EngineError('no step', refusal), { PLIMSOLL_DEBUG: '1' });
    expect(text).toMatch(/^plimsoll: no step\nEngineError: no step\n {4}at /);
    expect(text).toContain('caused by: HostError: cgroups.create web');
  });
});
