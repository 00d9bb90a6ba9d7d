import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';

interface Kind {
  readonly name: string;
  /** Groups run one after another, so that real parts never share the machine with other tests. */
  readonly group: number;
  /** Test files at a time. */
  readonly workers: number;
  readonly timeLimitMs: number;
}

const kinds: readonly Kind[] = [
  { name: 'unit', group: 0, workers: 2, timeLimitMs: 20_000 },
  { name: 'property', group: 0, workers: 2, timeLimitMs: 300_000 },
  { name: 'contract', group: 1, workers: 1, timeLimitMs: 60_000 },
  { name: 'e2e', group: 2, workers: 1, timeLimitMs: 120_000 },
  { name: 'guest', group: 3, workers: 1, timeLimitMs: 600_000 },
];

const project = ({ name, group, workers, timeLimitMs }: Kind): TestProjectInlineConfiguration => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    setupFiles: ['test/fast-check.ts'],
    sequence: { groupOrder: group },
    maxWorkers: workers,
    testTimeout: timeLimitMs,
    hookTimeout: timeLimitMs,
  },
});

export default defineConfig({
  test: { projects: kinds.map(project), reporters: ['./test/reporter.ts'] },
});
