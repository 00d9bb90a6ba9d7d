import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestCase, TestModule, Vitest } from 'vitest/node';

/** The part of an error of any shape that people read. */
interface Told {
  readonly name?: string;
  readonly message?: string;
  readonly stack?: string;
  readonly diff?: string;
  readonly cause?: unknown;
}

/**
 * Plain text for people and scripts: a line a test file as it ends, then each skipped test with its reason, each failed
 * one with its error and, for a property, the line that reproduces it. The last line reads `N passed, N failed`, and
 * `, N skipped` where there are any.
 */
export default class PlainReporter implements Reporter {
  #root = process.cwd();
  /** Somebody runs a few tests by name (-t): the others are skipped without further ado. */
  #picked = false;

  onInit(vitest: Vitest): void {
    this.#root = vitest.config.root;
    this.#picked = vitest.getGlobalTestNamePattern() !== undefined;
  }

  onUserConsoleLog(log: { readonly content: string }): void {
    write(log.content.endsWith('\n') ? log.content : `${log.content}\n`);
  }

  onTestModuleEnd(module: TestModule): void {
    const states = [...module.children.allTests()].map((test) => test.result().state);
    const count = (state: string): number => states.filter((each) => each === state).length;
    const broken = module.state() === 'failed' && count('failed') === 0;
    const parts = [
      `${count('passed')} passed`,
      ...(count('failed') > 0 ? [`${count('failed')} FAILED`] : []),
      ...(broken ? ['BROKEN'] : []),
      ...(count('skipped') > 0 ? [`${count('skipped')} skipped`] : []),
    ];
    write(`${this.#file(module)}: ${parts.join(', ')} (${Math.round(module.diagnostic().duration)} ms)\n`);
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const inState = (state: string): TestCase[] => tests.filter((test) => test.result().state === state);
    const skipped = inState('skipped');
    const failed = inState('failed');
    // A file that does not load, a hook that throws and a promise nobody waited for count as one failure each.
    const broken = modules.flatMap((module) =>
      [module, ...module.children.allSuites()].flatMap((part) =>
        part.errors().map((error) => ({ where: this.#file(module), error })),
      ),
    );

    for (const test of this.#picked ? [] : skipped) write(`skipped: ${this.#title(test)}: ${reasonOf(test)}\n`);
    for (const test of failed) this.#writeFailed(test);
    for (const { where, error } of broken) write(`\nFAILED: ${where}\n${tell(error)}\n`);
    for (const error of unhandled) write(`\nFAILED: unhandled error\n${tell(error)}\n`);

    const failures = failed.length + broken.length + unhandled.length + (tests.length === 0 ? 1 : 0);
    if (tests.length === 0) write('no test was found\n');
    const counts = [`${inState('passed').length} passed`, `${failures} failed`];
    if (skipped.length > 0) counts.push(`${skipped.length} skipped`);
    write(`${counts.join(', ')}\n`);
    if (failures > 0) process.exitCode = 1;
  }

  #writeFailed(test: TestCase): void {
    const errors = test.result().errors ?? [];
    write(`\nFAILED: ${this.#title(test)}\n${errors.map(tell).join('\n')}\n`);
    for (const error of errors) {
      const again = reproduction(error.message, this.#file(test.module), test.fullName);
      if (again !== null) write(`reproduce: ${again}\n`);
    }
  }

  #file(module: TestModule): string {
    return path.relative(this.#root, module.moduleId);
  }

  #title(test: TestCase): string {
    return `${this.#file(test.module)} > ${test.fullName}`;
  }
}

/** The command that runs a failed property on its counterexample alone; null for other failures. */
export function reproduction(message: string, file: string, title: string): string | null {
  const found = /\{ seed: (?<seed>-?\d+), path: "(?<path>[\d:]+)"/.exec(message)?.groups;
  if (found === undefined) return null;
  const words = title.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  return `PLIMSOLL_SEED=${found.seed} PLIMSOLL_PATH=${found.path} npx vitest run ${file} -t ${quoted(words)}`;
}

const write = (text: string): boolean => process.stdout.write(stripVTControlCharacters(text));

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

function reasonOf(test: TestCase): string {
  const result = test.result();
  if (result.state === 'skipped' && result.note !== undefined) return result.note;
  return test.options.mode === 'run' ? 'its file or suite did not run' : 'no reason given';
}

/** An error with its difference, where it was thrown and its causes, indented. */
function tell(error: unknown): string {
  const { name = 'Error', message = String(error), stack = '', diff, cause } = error as Told;
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line) && !line.includes('/node_modules/'));
  const lines = [`${name}: ${message}`, ...(diff === undefined ? [] : [diff]), ...frames.slice(0, 8)];
  const text = lines.join('\n').replaceAll(/^/gm, '  ');
  return cause === undefined || cause === null ? text : `${text}\n  caused by\n${tell(cause)}`;
}
