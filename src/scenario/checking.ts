import type { Problem } from './errors.ts';
import { hint } from './nearest.ts';
import type { Rules } from './scenario.ts';
import type { ScenarioWritten } from './schema.ts';
import type { Path, Source } from './source.ts';

/** The name of a machine that nobody described. */
const ONLY_HOST = 'host';

/** A scenario that is being checked: what was written, what it is checked by, and what does not fit together. */
export class Checking {
  readonly problems: Problem[] = [];
  readonly written: ScenarioWritten;
  readonly source: Source;
  readonly rules: Rules;
  readonly hostNames: readonly string[];
  readonly containerNames: readonly string[];
  readonly networkNames: readonly string[];

  constructor(written: ScenarioWritten, source: Source, rules: Rules) {
    this.written = written;
    this.source = source;
    this.rules = rules;
    this.hostNames = written.hosts === undefined ? [ONLY_HOST] : Object.keys(written.hosts);
    this.containerNames = Object.keys(written.containers);
    this.networkNames = Object.keys(written.networks ?? {});
  }

  problem(path: Path, message: string): void {
    const line = this.source.lineOf(path);
    if (!this.problems.some((problem) => problem.line === line && problem.message === message))
      this.problems.push({ line, message });
  }

  /** The host that is meant: the only one, where none is named. */
  hostOf(written: string | undefined, path: Path): string {
    if (written !== undefined && !this.hostNames.includes(written))
      this.problem(path, `there is no host "${written}": ${hint(written, this.hostNames)}`);
    if (written === undefined && this.hostNames.length > 1)
      this.problem(path, `there are ${this.hostNames.length} hosts: say which, host: ${this.hostNames[0]}`);
    return written ?? this.hostNames[0] ?? ONLY_HOST;
  }

  /** Where a container is, as far as that is known. */
  hostOfContainer(name: string): string {
    return own(this.written.containers, name)?.host ?? this.hostNames[0] ?? ONLY_HOST;
  }

  isContainer(name: string, path: Path): boolean {
    if (this.containerNames.includes(name)) return true;
    this.problem(path, `there is no container "${name}": ${hint(name, this.containerNames)}`);
    return false;
  }

  isNetwork(name: string, path: Path): boolean {
    if (this.networkNames.includes(name)) return true;
    this.problem(path, `there is no network "${name}": ${hint(name, this.networkNames)}`);
    return false;
  }

  isWritten(path: Path): boolean {
    let at: unknown = this.source.data;
    for (const key of path) {
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return false;
      at = (at as Record<PropertyKey, unknown>)[key];
    }
    return true;
  }
}

/** What stands at this key, and not at one that every object has. */
export const own = <T>(map: Readonly<Record<string, T>> | undefined, key: string): T | undefined =>
  map !== undefined && Object.hasOwn(map, key) ? map[key] : undefined;
