import type { Fit } from './fit.ts';

/** What the fit said of those that were held out, beside what was measured: a line each. */
export function predictionLines({ cases, errorMax }: Fit): string {
  const held = cases.filter((each) => each.held);
  const width = Math.max(...held.map(({ path }) => path.length));
  const lines = held.map(({ path, containers, payloadBytes, us, predictedUs }) => {
    const shape = `1:${containers} ${payloadBytes} B`.padEnd(10);
    const error = `${predictedUs >= us ? '+' : ''}${((predictedUs / us - 1) * 100).toFixed(1)} %`;
    return `  ${path.padEnd(width)}  ${shape}  ${predictedUs.toFixed(3)} us  ${us.toFixed(3)} us  ${error.padStart(8)}`;
  });
  return [
    `CPU of a packet, predicted and measured, of the ${held.length} cases that nothing was fitted to (at most ${(errorMax * 100).toFixed(1)} % apart):`,
    ...lines,
    '',
  ].join('\n');
}
