import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLError } from 'yaml';
import { ScenarioError } from './errors.ts';

/** Far more than any scenario needs; a trace belongs in a file of its own. */
const CHARACTERS_MAX = 4 * 1024 * 1024;

/** Where in a document: keys and indices from its top. */
export type Path = readonly PropertyKey[];

/** What a file holds, and on which line each part of it stands. */
export interface Source {
  readonly file: string;
  readonly data: unknown;
  /** The line of what is at this path, or of the nearest thing around it. */
  lineOf(path: Path): number | undefined;
}

/** Plain data that no file holds, such as a scenario inside a recording. */
export const sourceOfData = (data: unknown, file: string): Source => ({ file, data, lineOf: () => undefined });

/** Reads YAML, keeping lines. @throws ScenarioError */
export function sourceOfYaml(text: string, file: string): Source {
  if (text.trim() === '')
    throw new ScenarioError(file, [
      { message: 'the file is empty: write a scenario with title, why, containers, timeline' },
    ]);
  if (text.length > CHARACTERS_MAX)
    throw new ScenarioError(file, [
      { message: `${text.length} characters are too many for a scenario: at most ${CHARACTERS_MAX}` },
    ]);
  try {
    const lines = new LineCounter();
    const document = parseDocument(text, { lineCounter: lines, logLevel: 'error' });
    const faults = [...document.errors, ...document.warnings];
    if (faults.length > 0) {
      throw new ScenarioError(
        file,
        faults.slice(0, 1).map((fault) => ({ line: lines.linePos(fault.pos[0]).line, message: inWords(fault, text) })),
      );
    }
    return {
      file,
      data: document.toJS() as unknown,
      lineOf: (path) => {
        const at = offsetOf(document.contents, path, (node) => (isAlias(node) ? node.resolve(document) : node));
        return at === undefined ? undefined : lines.linePos(at).line;
      },
    };
  } catch (error) {
    if (error instanceof ScenarioError) throw error;
    // The library throws at aliases that multiply, and runs out of stack where lists nest by the thousand.
    const message = error instanceof Error ? error.message : String(error);
    throw new ScenarioError(file, [{ message: `not readable as YAML: ${message}` }], { cause: error });
  }
}

function offsetOf(top: Node | null, path: Path, follow: (node: unknown) => unknown): number | undefined {
  let offset = top?.range?.[0];
  let node: unknown = follow(top);
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (pair === undefined) break;
      if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = follow(pair.value);
    } else if (isSeq(node)) {
      const item = node.items[Number(key)] as Node | undefined;
      if (item === undefined) break;
      offset = item.range?.[0] ?? offset;
      node = follow(item);
    } else break;
  }
  return offset;
}

function inWords(fault: YAMLError, text: string): string {
  const [first = ''] = fault.message.split('\n');
  if (fault.code === 'DUPLICATE_KEY') {
    const key = /^\s*[?]?\s*["']?([^"':\n]*)/.exec(text.slice(fault.pos[0], fault.pos[0] + 100))?.[1]?.trim();
    return `"${key}" is there twice: name each once`;
  }
  return `not readable as YAML: ${first.replace(/ at line \d+, column \d+:?$/, '')}`;
}
