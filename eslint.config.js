import tseslint from 'typescript-eslint';

// Imports run downwards only. Each room lists the rooms that it must not see.
const rooms = {
  bytes: [
    'cli',
    'web',
    'machines',
    'verify',
    'pack',
    'boot',
    'kernel',
    'bzimage',
    'elf',
    'compression',
    'cpio',
    'node',
  ],
  compression: ['cli', 'web', 'machines', 'verify', 'pack', 'boot', 'kernel', 'bzimage', 'elf', 'cpio', 'node'],
  elf: ['cli', 'web', 'machines', 'verify', 'pack', 'boot', 'kernel', 'bzimage', 'compression', 'cpio', 'node'],
  bzimage: ['cli', 'web', 'machines', 'verify', 'pack', 'boot', 'kernel', 'cpio', 'node'],
  kernel: ['cli', 'web', 'machines', 'verify', 'pack', 'boot', 'cpio', 'node'],
  boot: ['cli', 'web', 'machines', 'verify', 'pack', 'cpio', 'node'],
  verify: ['cli', 'web', 'machines', 'pack', 'node'],
  pack: ['cli', 'web', 'machines', 'node'],
  machines: ['cli', 'web'],
};
const portable = ['bytes', 'compression', 'elf', 'bzimage', 'kernel', 'boot', 'verify', 'pack', 'cpio'];

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', '.cache/', 'guest/built/', 'node_modules/'] },
  ...tseslint.configs.strictTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  ...tseslint.configs.stylisticTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
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
            ...(portable.includes(room) ? [{ group: ['node:*'], message: `${room} runs in browsers too.` }] : []),
          ],
        },
      ],
    },
  })),
);
