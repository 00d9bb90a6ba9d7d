import { readdirSync, readFileSync } from 'node:fs';

/** What a file of the kernel says, trimmed; null where there is none, or it refuses. */
export function readWords(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}

/** The names in a folder, sorted; none where there is no such folder. */
export function namesIn(path: string): string[] {
  try {
    return readdirSync(path).toSorted();
  } catch {
    return [];
  }
}
