import { closest, distance } from 'fastest-levenshtein';

/** The known name that somebody probably meant, or undefined where none is near. */
export function nearest(written: string, known: readonly string[]): string | undefined {
  if (known.length === 0 || written.length > 100) return undefined;
  const name = closest(
    written.toLowerCase(),
    known.map((each) => each.toLowerCase()),
  );
  const near = known.find((each) => each.toLowerCase() === name)!;
  return distance(written.toLowerCase(), name) <= Math.max(2, near.length / 3) ? near : undefined;
}

/** `, did you mean "killAt"?`, or what there is to choose from where nothing is near. */
export function hint(written: string, known: readonly string[]): string {
  const near = nearest(written, known);
  if (near !== undefined) return `did you mean "${near}"?`;
  return known.length === 0 ? 'there is none to name' : `known are ${known.join(', ')}`;
}
