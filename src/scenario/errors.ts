/** One thing that is wrong with a file: what, what to do, and on which line where that is known. */
export interface Problem {
  readonly line?: number | undefined;
  readonly message: string;
}

/** A scenario or a recording cannot be read. The message has one line for each problem, `file:line: what, what to do`. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError';
  readonly file: string;
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[], options?: ErrorOptions) {
    super(
      problems
        .map(({ line, message }) => `${line === undefined ? file : `${file}:${line}`}: ${oneLine(message)}`)
        .join('\n'),
      options,
    );
    this.file = file;
    this.problems = problems;
  }
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
