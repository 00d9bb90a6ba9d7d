import { formatBytes, formatMilliseconds } from '../host/units.ts';
import { type Paint, plotArea } from './plot.ts';

/** What came of one policy, ready to be shown. */
export interface Outcome {
  readonly policy: string;
  /** One line for people. */
  readonly about: string;
  readonly kills: readonly {
    readonly atMs: number;
    readonly container: string;
    readonly overBytes: number;
    readonly reason: string;
  }[];
  readonly containers: number;
  readonly killsBySupervisor: number;
  readonly killsByKernel: number;
  readonly killsWithinRequest: number;
  readonly peakTotalBytes: number;
  readonly timeOverHardLimitMs: number;
  /** The highest total in each of so many equal stretches. */
  readonly totalBytes: readonly number[];
}

/** What both policies ran on. */
export interface Ground {
  readonly title: string;
  readonly spanMs: number;
  /** Of all machines together. */
  readonly hardLimitBytes: number;
  readonly killAtBytes: number;
  readonly machines: number;
  /** The most that was asked for at one time, over the hard limit. */
  readonly overCommit: number;
}

/** Kills listed for each policy; the rest is counted. */
const KILLS_SHOWN = 10;

const PLOT_ROWS = 10;

/** What happened under each policy: use against the limit as a plot, the kills with reasons, and the outcomes side by side. */
export function compareText(ground: Ground, outcomes: readonly Outcome[], paint: Paint): string[] {
  return [
    ground.title,
    `${outcomes[0]?.containers ?? 0} containers over ${formatMilliseconds(ground.spanMs)} on ${ground.machines === 1 ? 'one machine' : `${ground.machines} machines`}; at the most they ask for ${ground.overCommit.toFixed(2)} times the hard limit of ${formatBytes(ground.hardLimitBytes)}; killAt is ${formatBytes(ground.killAtBytes)}`,
    ...outcomes.flatMap((outcome) => ['', ...outcomeText(ground, outcome, paint)]),
    '',
    ...table(outcomes),
    '',
    'A killed container ends there and counts once; nothing is started again.',
  ];
}

function outcomeText(ground: Ground, outcome: Outcome, paint: Paint): string[] {
  const columns = outcome.totalBytes.length;
  const kills = outcome.kills.slice(0, KILLS_SHOWN);
  const names = Math.max(0, ...kills.map(({ container }) => container.length));
  return [
    `${outcome.policy}: ${outcome.about}`,
    '',
    ...plotArea(
      {
        values: outcome.totalBytes,
        lines: [{ label: 'hard limit', value: ground.hardLimitBytes }],
        marks: outcome.kills.map(({ atMs }) =>
          Math.min(columns - 1, Math.floor((atMs / Math.max(1, ground.spanMs)) * columns)),
        ),
        height: PLOT_ROWS,
        format: formatBytes,
        below: [0, 1, 2, 3, 4].map((quarter) => clock((ground.spanMs * quarter) / 4)),
      },
      paint,
    ),
    '',
    outcome.kills.length === 0 ? 'nobody was killed' : `${outcome.kills.length} killed (✕)`,
    ...kills.map(({ atMs, container, reason }) => `  ${clock(atMs)}  ${container.padEnd(names)}  ${reason}`),
    ...(outcome.kills.length > KILLS_SHOWN ? [`  … and ${outcome.kills.length - KILLS_SHOWN} more`] : []),
  ];
}

function table(outcomes: readonly Outcome[]): string[] {
  const rows: [label: string, value: (outcome: Outcome) => string][] = [
    ['', ({ policy }) => policy],
    ['containers killed', ({ kills }) => String(kills.length)],
    ['  by the supervisor', ({ killsBySupervisor }) => String(killsBySupervisor)],
    ['  by the kernel', ({ killsByKernel }) => String(killsByKernel)],
    ['  within their request', ({ killsWithinRequest }) => String(killsWithinRequest)],
    [
      'chance of being killed',
      ({ kills, containers }) => `${((100 * kills.length) / Math.max(1, containers)).toFixed(1)} %`,
    ],
    ['peak of memory in use', ({ peakTotalBytes }) => formatBytes(peakTotalBytes)],
    ['time over the hard limit', ({ timeOverHardLimitMs }) => formatMilliseconds(timeOverHardLimitMs)],
  ];
  const label = Math.max(...rows.map(([text]) => text.length));
  const width = Math.max(...rows.flatMap(([, value]) => outcomes.map((outcome) => value(outcome).length))) + 3;
  return rows.map(
    ([text, value]) => `${text.padEnd(label)}${outcomes.map((outcome) => value(outcome).padStart(width)).join('')}`,
  );
}

/** A moment within a trace: hours and minutes, with days where there are any. */
function clock(atMs: number): string {
  const seconds = Math.floor(atMs / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const days = Math.floor(seconds / 86_400);
  const time = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return days > 0 ? `${days}d ${time}` : time;
}
