import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    // Emulated guests calibrate their clocks against the host's: a busy machine lets one down now and then.
    retry: process.env['CI'] === undefined ? 0 : 2,
  },
});
