import type { Observation, ReachObservation } from '../engine/observation.ts';
import { nameOf } from '../scenario/reach.ts';

/** Who reached whom, a table for each moment: whoever answered, `✓` where it was the one that was meant, `·` where nobody was reached. */
export function reachMatrices(observations: readonly Observation[]): string[] {
  const plain = observations.filter(
    (each) => each.kind === 'reach' && each.forgedSource === undefined && each.payloadBytes === undefined,
  ) as readonly ReachObservation[];
  const moments = [...Map.groupBy(plain, ({ momentMs }) => momentMs)];
  return moments.flatMap(([momentMs, probes]) => [
    '',
    ...matrixOf(moments.length > 1 ? `at ${momentMs / 1000} s, from \\ to` : 'from \\ to', probes),
  ]);
}

function matrixOf(corner: string, probes: readonly ReachObservation[]): string[] {
  const named = (names: readonly string[]): string[] =>
    [...new Set(names)].toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const to = named(probes.map((probe) => probe.to));
  const from = named(probes.map((probe) => probe.from));
  const cells = new Map(probes.map((probe) => [`${probe.from}\n${probe.to}`, cellOf(probe)]));
  const rows = [
    [corner, ...to],
    ...from.map((sender) => [sender, ...to.map((target) => cells.get(`${sender}\n${target}`) ?? '')]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')}`.trimEnd());
}

function cellOf({ to, answeredBy, arrivedAt }: ReachObservation): string {
  if (answeredBy === null) return arrivedAt === null ? '·' : `${nameOf(arrivedAt)}?`;
  const who = nameOf(answeredBy);
  return who === to.split('@')[0] ? '✓' : who;
}
