import tseslint from 'typescript-eslint';

// Imports run downwards only. Each room lists the rooms that it must not see.
const top = ['cli', 'web', 'machines', 'explain', 'pack'];
const rooms = {
  bytes: [...top, 'verify', 'boot', 'kernel', 'bzimage', 'elf', 'compression', 'cpio', 'node'],
  compression: [...top, 'verify', 'boot', 'kernel', 'bzimage', 'elf', 'cpio', 'node'],
  elf: [...top, 'verify', 'boot', 'kernel', 'bzimage', 'compression', 'cpio', 'node'],
  bzimage: [...top, 'verify', 'boot', 'kernel', 'cpio', 'node'],
  kernel: [...top, 'verify', 'boot', 'cpio', 'node'],
  boot: [...top, 'verify', 'cpio', 'node'],
  verify: [...top, 'node'],
  pack: ['cli', 'web', 'machines', 'explain', 'node'],
  explain: ['cli', 'web', 'machines', 'pack', 'node'],
  machines: ['cli', 'web'],
};
const portable = ['bytes', 'compression', 'elf', 'bzimage', 'kernel', 'boot', 'verify', 'pack', 'explain', 'cpio'];
const browsersToo = (room) => ({ group: ['node:*'], message: `${room} runs in browsers too.` });

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', '.cache/', 'guest/built/', 'node_modules/'] },
  ...tseslint.configs.strictTypeChecked.map((config) => ({ ...config, files: ['**/*.{ts,tsx}'] })),
  ...tseslint.configs.stylisticTypeChecked.map((config) => ({ ...config, files: ['**/*.{ts,tsx}'] })),
  {
    files: ['**/*.{ts,tsx}'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/prefer-literal-enum-member': 'off',
      'no-restricted-syntax': ['error', { selector: 'TSEnumDeclaration', message: 'Use a table of constants.' }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      '@typescript-eslint/prefer-optional-chain': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true, argsIgnorePattern: '^_' }],
    },
  },
  ...Object.entries(rooms).map(([room, above]) => ({
    files: [`src/${room}/**/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            { group: above.map((name) => `**/${name}/**`), message: `${room} must not import from above.` },
            ...(portable.includes(room) ? [browsersToo(room)] : []),
          ],
        },
      ],
    },
  })),
  {
    files: ['src/machines/v86/**/*.ts'],
    ignores: ['src/machines/v86/node.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            { group: rooms.machines.map((name) => `**/${name}/**`), message: 'machines must not import from above.' },
            browsersToo('v86'),
          ],
        },
      ],
    },
  },
  {
    files: ['web/**/*.{ts,tsx}'],
    ignores: ['web/vite.config.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            { regex: '/src/(?!index\\.js$)', message: 'The page uses what the library offers: src/index.ts.' },
            browsersToo('the page'),
          ],
        },
      ],
    },
  },
);
