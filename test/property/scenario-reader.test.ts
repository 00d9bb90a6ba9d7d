import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { ScenarioError } from '../../src/scenario/errors.ts';
import { readScenario } from '../../src/scenario/load.ts';
import { rules } from '../unit/scenario/rules.ts';

const LONG = process.env['PLIMSOLL_LONG'] === '1';
const RUNS = LONG ? 100_000 : 2000;
const TIME_LIMIT_MS = LONG ? 3_600_000 : 60_000;

const FOLDER = 'scenarios/memory';
const SHIPPED = readdirSync(FOLDER).map((name) => readFileSync(`${FOLDER}/${name}`, 'utf8'));

/** Words of the form, so that arbitrary structures come near to scenarios; `hasOwnProperty` and friends for what they break. */
const WORDS = [
  ...new Set(SHIPPED.join('\n').match(/[A-Za-z]+/g)),
  'end',
  'constructor',
  '__proto__',
  'toString',
  'hasOwnProperty',
  'sim',
  'null',
  '~',
];
const SCALARS = [
  '200Mi',
  '-5Mi',
  '9Xi',
  '5s',
  '1e999',
  '.inf',
  '-.nan',
  '0x10',
  '99999999999999999999',
  'true',
  'no',
  '',
  '*a',
  '&a',
  '!!int x',
  '%',
];

/** What came of reading: a scenario or a ScenarioError whose every line is a line; anything else is thrown on. */
function outcomeOf(text: string): 'scenario' | 'error' {
  try {
    readScenario(text, 'fuzz.yaml', rules);
    return 'scenario';
  } catch (error) {
    if (!(error instanceof ScenarioError)) throw error;
    const lines = error.message.split('\n');
    if (lines.some((line) => !/^fuzz\.yaml(?::\d+)?: \S/.test(line)))
      throw new Error(`not a line for each problem: ${error.message}`, { cause: error });
    return 'error';
  }
}

const scalar = fc.oneof(
  fc.constantFrom(...WORDS),
  fc.constantFrom(...SCALARS),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.string(),
);
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    scalar,
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...WORDS), fc.string()), tie('tree'), { maxKeys: 6 }),
  ),
}));

/** A change of a file at one place: text cut out, doubled, or put in its stead. */
const mutation = fc.record({
  at: fc.integer({ min: 0, max: 9999 }).map((place) => place / 10_000),
  length: fc.integer({ min: 0, max: 30 }),
  put: fc.oneof(
    fc.constantFrom(...WORDS, ...SCALARS),
    fc.string({ maxLength: 5, unit: 'binary' }),
    fc.constantFrom('{', '}', '[', ']', ':', '\n', '  ', '\t', ',', '- ', '#', '|', '>', "'", '"'),
  ),
});

function mutate(text: string, mutations: readonly { at: number; length: number; put: string }[]): string {
  return mutations.reduce((changed, { at, length, put }) => {
    const from = Math.floor(at * changed.length);
    return changed.slice(0, from) + put + changed.slice(from + length);
  }, text);
}

describe(
  'the reader of scenarios gives a scenario or says what is wrong, whatever it is given',
  { timeout: TIME_LIMIT_MS },
  () => {
    test('any structure', () => {
      fc.assert(
        fc.property(tree, (data) => void outcomeOf(stringify(data))),
        { numRuns: RUNS },
      );
    });

    test('any text', () => {
      fc.assert(
        fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => void outcomeOf(text)),
        { numRuns: RUNS },
      );
    });

    test('shipped files with something changed', () => {
      const outcomes = { scenario: 0, error: 0 };
      fc.assert(
        fc.property(
          fc.constantFrom(...SHIPPED),
          fc.array(mutation, { minLength: 1, maxLength: 3 }),
          (text, mutations) => {
            outcomes[outcomeOf(mutate(text, mutations))]++;
          },
        ),
        { numRuns: RUNS },
      );
      // Both sides must be reached, or the mutations are too gentle or too rough.
      for (const reached of Object.values(outcomes)) expect(reached / RUNS).toBeGreaterThan(0.05);
    });
  },
);
