import { median } from '../result.ts';
import type { Fit, JudgedCase } from './fit.ts';

/** What the fit said of the cases that were held out, beside what was measured: a line for each path. */
export function predictionLines({ cases, errorMax }: Fit): string[] {
  const held = cases.filter((each) => each.held);
  const byPath = [...Map.groupBy(held, ({ path }) => path)];
  const width = Math.max(...byPath.map(([path]) => path.length));
  return [
    `CPU of a packet in us, predicted and measured, of the ${held.length} cases that nothing was fitted to; at most ${percent(errorMax)} apart:`,
    ...byPath.map(([path, own]) => {
      const isWhole = cases.every((each) => each.path !== path || each.held);
      const furthest = own.reduce((a, b) => (errorOf(a) > errorOf(b) ? a : b));
      const figures = [own.map(({ predictedUs }) => predictedUs), own.map(({ us }) => us)].map((all) =>
        median(all).toFixed(3).padStart(8),
      );
      return `  ${path.padEnd(width)}${figures.join('')}${percent(errorOf(furthest)).padStart(9)}${isWhole ? '  no case of it was fitted' : ''}`;
    }),
  ];
}

const errorOf = ({ us, predictedUs }: JudgedCase): number => Math.abs(predictedUs / us - 1);

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
