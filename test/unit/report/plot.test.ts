import { expect, test } from 'vitest';
import { plotArea } from '../../../src/report/plot.ts';

const plain = (text: string): string => text;
const base = {
  lines: [{ label: 'limit', value: 75 }],
  marks: [],
  height: 4,
  format: (value: number) => `${Math.round(value)}`,
  below: ['0', '9'],
};

test('area, line, labels and times stand where they belong', () =>
  expect(plotArea({ ...base, values: [0, 25, 50, 100, Number.NaN, 100], marks: [3] }, plain)).toEqual([
    '         ┤   ▇ ▇',
    'limit 75 ┤───█─█',
    '         ┤  ██ █',
    '       0 ┤ ███ █',
    '         └──────',
    '             ✕',
    '          0    9',
  ]));

test('what is above the first line is painted as over', () => {
  const roles: string[] = [];
  plotArea({ ...base, values: [100, 50] }, (text, role) => {
    if ('▁▂▃▄▅▆▇█'.includes(text)) roles.push(role);
    return text;
  });
  expect(roles).toContain('over');
  expect(roles).toContain('use');
});

test('two lines in one row share its label', () =>
  expect(
    plotArea(
      {
        ...base,
        values: [1],
        lines: [
          { label: 'a', value: 99 },
          { label: 'b', value: 100 },
        ],
      },
      plain,
    )[0],
  ).toMatch(/^a, b 99 /));

test('every row is as wide as the plot', () => {
  const rows = plotArea({ ...base, values: Array.from({ length: 40 }, (_, index) => index) }, plain);
  expect(new Set(rows.slice(0, 5).map((row) => row.length)).size).toBe(1);
});
