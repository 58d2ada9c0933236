import { defineConfig } from 'vitest/config';

// What decides without touching the world; needs no database and is done in a second.
const PURE = ['test/domain/**/*.test.ts', 'test/remote/**/*.test.ts'];
const END_TO_END = ['test/e2e/**/*.test.ts'];

// A bound against waiting for ever, not a measure: a machine that is slow or busy must not fail a test.
const AWAITED = { poll: { timeout: 60_000 } };

export default defineConfig({
  test: {
    // Every test file has servers of its own beside it and mostly waits for them.
    maxWorkers: 3,
    projects: [
      { test: { name: 'unit', include: PURE, testTimeout: 60_000, sequence: { groupOrder: 0 } } },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.test.ts'],
          exclude: [...PURE, ...END_TO_END],
          globalSetup: ['test/support/global-setup.ts'],
          expect: AWAITED,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: END_TO_END,
          globalSetup: ['test/support/global-setup.ts'],
          expect: AWAITED,
          testTimeout: 600_000,
          hookTimeout: 600_000,
          // They mostly wait for servers and processes, and each has all of its own.
          maxWorkers: 3,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
