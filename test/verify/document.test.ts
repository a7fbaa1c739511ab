import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { expect, it } from 'vitest';
import { loadersPage } from '../../src/verify/document.js';

it('docs/loaders.md is what the tables say (npm run docs)', async () => {
  const path = join(resolve(import.meta.dirname, '../..'), 'docs/loaders.md');
  const text = await format(loadersPage(), { ...(await resolveConfig(path)), parser: 'markdown' });
  expect(readFileSync(path, 'utf8')).toBe(text);
});
