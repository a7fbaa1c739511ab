import { spawnSync } from 'node:child_process';

/** The browser that is installed here, or undefined. */
export const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version']).status === 0,
);
