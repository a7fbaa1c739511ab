/** The page does what the library does: the same facts, verdicts and bytes, in a real browser. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../../scripts/setup.mjs';
import {
  createSubject,
  formatSystemMap,
  pcMemoryMap,
  planStart,
  planStripes,
  planToJson,
  readBootImage,
  readKallsyms,
  recoverVmlinux,
  SERIAL_COMMAND_LINE,
  verify,
} from '../../src/index.js';
import { chromium } from '../browser/chromium.js';
import { makeUki } from '../bzimage/make-uki.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { PageUnderTest, PATIENCE_MS } from './page.js';

const KERNEL_64 = 'k64-lz4.bzImage';
const KERNEL_32 = 'k32-gzip.bzImage';
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const kernels = [KERNEL_64, KERNEL_32].every((name) => corpusFile(name) !== null);

describe.skipIf(chromium === undefined || !kernels)('the page', () => {
  let browser: PageUnderTest;

  beforeAll(async () => {
    browser = await PageUnderTest.start();
  }, PATIENCE_MS);

  afterEach(() => {
    expect(browser.misdeeds).toEqual([]);
  });

  afterAll(async () => {
    await browser.close();
  });

  it('shows a dropped kernel as its build tree has it', async () => {
    const truth = corpus.find(({ file }) => file === KERNEL_64);
    if (truth === undefined) throw new Error('the manifest lacks it');
    await browser.visit();
    await browser.drop(KERNEL_64, readCorpus(KERNEL_64));

    await expect(browser.page.locator('.summary').textContent()).resolves.toContain(truth.sha256);
    const header = new Map((await browser.rows('Setup header')).map(([name = '', value = '']) => [name, value]));
    expect(header.get('protocol')).toBe(truth.boot_protocol);
    expect(header.get('setup_sects')).toBe(String(truth.setup_sects));
    expect(header.get('pref_address')).toBe(truth.pref_address);
    expect(header.get('xloadflags')).toBe(truth.xloadflags);
    const fields = new Map((await browser.rows('All fields of the setup header')).map((row) => [row[0], row[2]]));
    expect(fields.get('init_size')).toBe(String(truth.init_size));
    expect(fields.get('payload_length')).toBe(String(truth.payload_length));

    const parts = await browser.rows('Parts of the file');
    expect(parts.map(([label]) => label)).toEqual(['setup', 'stub', truth.compression, 'stub']);
    expect(parts[2]?.[1]).toBe(`0x${truth.payload_file_offset.toString(16)}`);
    await expect(browser.fact('its sha256')).resolves.toBe(truth.decompressed.sha256);
    await expect(browser.fact('release')).resolves.toBe(truth.uname_r);
    await expect(browser.fact('build id')).resolves.toBe(truth.build_id);
    const segments = await browser.rows('Segments of the kernel');
    expect(segments.map(([type, , , vaddr, paddr]) => [type, vaddr, paddr])).toEqual(
      truth.decompressed.vmlinux_bin.phdrs.map(({ type, vaddr, paddr }) => [type, vaddr, paddr]),
    );
  });

  it.each([KERNEL_64, KERNEL_32])('says what every loader says of %s', async (name) => {
    await browser.open(name, readCorpus(name), 'verify');
    const { verdicts, violations } = verify(await createSubject(readBootImage(readCorpus(name))));
    const rows = await browser.page.locator('.verdicts .loader').all();
    const shown = await Promise.all(
      rows.map(async (row) => [await row.locator('th').textContent(), await row.locator('.badge').textContent()]),
    );
    expect(shown).toEqual(
      verdicts.map(({ loader, accepts, reason }) => [
        loader,
        accepts ? 'accepts' : reason?.checked === false ? 'fails' : 'refuses',
      ]),
    );
    const rules = await browser.page.locator('.findings summary code').allTextContents();
    expect(rules.sort()).toEqual(violations.map(({ rule }) => rule).sort());
  });

  it('tells why a loader refuses when its row is opened', async () => {
    await browser.open(KERNEL_64, readCorpus(KERNEL_64), 'verify');
    await browser.page.getByRole('button', { name: 'v86' }).click();
    await expect(browser.fact('rule')).resolves.toBe('elf.class-32');
  });

  it('gives vmlinux and System.map byte for byte', async () => {
    const truth = corpus.find(({ file }) => file === KERNEL_64);
    await browser.open(KERNEL_64, readCorpus(KERNEL_64), 'extract');
    const vmlinux = await browser.download('Download vmlinux');
    expect(vmlinux.name).toBe(`${KERNEL_64}.vmlinux`);
    expect(sha256(vmlinux.bytes)).toBe(truth?.decompressed.vmlinux_bin.sha256);
    const symbols = await browser.download('Download System.map');
    const kernel = await recoverVmlinux(readBootImage(readCorpus(KERNEL_64)));
    expect(new TextDecoder().decode(symbols.bytes)).toBe(formatSystemMap(readKallsyms(kernel) ?? [], 64));
    const config = await browser.download('Download .config');
    expect(sha256(config.bytes)).toBe(truth?.config_sha256);
    const moved = await browser.download('Download vmlinux, relocated');
    expect(moved.bytes.length).toBe(vmlinux.bytes.length);
  });

  it('shows what can be shown of a damaged image, and what is wrong', async () => {
    const bytes = new Uint8Array(readCorpus(KERNEL_32)).slice(0, 1_000_000);
    await browser.open('cut.bzImage', bytes);
    await expect(browser.rows('Setup header')).resolves.not.toEqual([]);
    const problems = (await browser.page.locator('.problems li').allTextContents()).join('\n');
    expect(problems).toContain('syssize promises');
    expect(problems).toContain('payload-truncated');
    await browser.select('Verify');
    const { verdicts } = verify(await createSubject(readBootImage(bytes)));
    const words = await browser.page.locator('.verdicts .badge').allTextContents();
    expect(words.map((word) => word === 'accepts')).toEqual(verdicts.map(({ accepts }) => accepts));
  });

  it('looks into a unified kernel image', async () => {
    const truth = corpus.find(({ file }) => file === KERNEL_64);
    const uki = makeUki([
      ['.cmdline', new TextEncoder().encode('quiet')],
      ['.linux', readCorpus(KERNEL_64)],
      ['.initrd', new Uint8Array(777)],
    ]);
    await browser.open('linux.efi', uki);
    await expect(browser.fact('.cmdline')).resolves.toBe('quiet');
    await expect(browser.fact('release')).resolves.toBe(truth?.uname_r);
    await browser.select('Extract');
    const { bytes } = await browser.download('Download vmlinux');
    expect(sha256(bytes)).toBe(truth?.decompressed.vmlinux_bin.sha256);
    await browser.select('Plan');
    await browser.panel('Plan').getByText('kernel by linux64').waitFor();
  });

  it('explains a file that is no kernel', async () => {
    await browser.open('notes.txt', new TextEncoder().encode('not a kernel\n'));
    await expect(browser.page.getByRole('alert').textContent()).resolves.toMatch(/^not a boot image .*give a bzImage/);
    await browser.select('Extract');
    await expect(
      browser.page.getByRole('button', { name: 'Download vmlinux', exact: true }).isDisabled(),
    ).resolves.toBe(true);
  });

  it('plans as the library does, and gives the plan as JSON', async () => {
    const initrd = new Uint8Array(54_321).fill(7);
    await browser.open(KERNEL_64, readCorpus(KERNEL_64), 'plan');
    const panel = browser.panel('Plan');
    await panel.getByLabel('Memory', { exact: true }).fill('256M');
    await panel.getByLabel('Random address').check();
    await panel.getByLabel('Seed for KASLR').fill('a seed');
    await panel.getByText('at random from "a seed"').waitFor();
    await panel.getByLabel('File of the initial RAM disk').setInputFiles({
      name: 'mine.cpio',
      mimeType: '',
      buffer: Buffer.from(initrd),
    });
    await panel.getByText(`${initrd.length} bytes at`).waitFor();
    const plan = planStart(await createSubject(readBootImage(readCorpus(KERNEL_64))), {
      stage: 'kernel',
      memory: pcMemoryMap(256n << 20n),
      commandLine: SERIAL_COMMAND_LINE,
      initrd,
      kaslr: { seed: 'a seed' },
    });
    const { bytes } = await browser.download('Download the plan as JSON');
    expect(JSON.parse(new TextDecoder().decode(bytes))).toEqual(planToJson(plan));
    await expect(panel.getByRole('list', { name: 'Guest memory' }).getByRole('listitem').count()).resolves.toBe(
      planStripes(plan).length + 1,
    );
  });

  it('refuses a plan in the words of the command line', async () => {
    await browser.open(KERNEL_64, readCorpus(KERNEL_64), 'plan');
    const panel = browser.panel('Plan');
    await panel.getByLabel('Memory', { exact: true }).fill('8M');
    const line = await panel.getByRole('alert').textContent();
    const program = join(root, 'bin/bzelf');
    const { stderr } = spawnSync(program, ['plan', corpusFile(KERNEL_64) ?? '', '--memory', '8M'], {
      encoding: 'utf8',
    });
    expect(`bzelf: ${line ?? ''}\n`).toBe(stderr);
  });

  it('boots a 32-bit kernel, whose console takes input', async () => {
    await browser.open(KERNEL_32, readCorpus(KERNEL_32), 'boot');
    const panel = browser.panel('Boot');
    await panel.getByLabel('Initial RAM disk', { exact: true }).selectOption('shell');
    await panel.getByRole('button', { name: 'Start' }).click();
    const rows = panel.locator('.xterm-rows');
    await rows.getByText('INIT-OK').waitFor();
    await rows.getByText('INIT-END').waitFor();
    await browser.page.keyboard.type('cat /proc/version\n');
    await rows.getByText(/^# cat/).waitFor();
    await browser.page.keyboard.type('poweroff\n');
    await panel.getByText('the guest powered off').waitFor();
    await expect(browser.fact('instructions')).resolves.toMatch(/^\d+\.\d million$/);
    const log = await browser.download('Save the console');
    expect(new TextDecoder().decode(log.bytes)).toMatch(/Linux version[^]*INIT-OK[^]*INIT-END/);
  });

  it('stops a guest', async () => {
    await browser.open(KERNEL_32, readCorpus(KERNEL_32), 'boot');
    const panel = browser.panel('Boot');
    await panel.getByLabel('Initial RAM disk', { exact: true }).selectOption('shell');
    await panel.getByRole('button', { name: 'Start' }).click();
    await panel.getByText('running', { exact: true }).waitFor();
    await panel.getByRole('button', { name: 'Stop' }).click();
    await panel.getByText('you stopped the guest').waitFor();
  });

  it('says what it cannot start, and how to start that elsewhere', async () => {
    await browser.open(KERNEL_32, readCorpus(KERNEL_32), 'boot');
    await browser.panel('Boot').getByLabel('Enter at').selectOption('setup');
    await browser.panel('Boot').getByRole('button', { name: 'Start' }).click();
    await browser.panel('Boot').getByText('this start needs a BIOS, and the page has none').waitFor();
    await browser.open(KERNEL_64, readCorpus(KERNEL_64), 'boot');
    await browser.panel('Boot').getByText('v86, has a 32-bit CPU').waitFor();
    await browser.panel('Boot').getByText(`bzelf boot ${KERNEL_64} --initrd demo-initramfs.cpio`).waitFor();
  });

  it('fits a narrow screen in every tab', async () => {
    await browser.page.setViewportSize({ width: 360, height: 740 });
    await browser.open('cut.bzImage', new Uint8Array(readCorpus(KERNEL_32)).slice(0, 1_000_000));
    for (const tab of ['Inspect', 'Verify', 'Extract', 'Plan', 'Boot']) {
      await browser.select(tab);
      const { content, screen } = await browser.page.evaluate(() => ({
        content: document.documentElement.scrollWidth,
        screen: document.documentElement.clientWidth,
      }));
      expect(content, tab).toBe(screen);
    }
    await browser.page.setViewportSize({ width: 1280, height: 720 });
  });

  it('goes through the tabs by keyboard', async () => {
    await browser.open('notes.txt', new TextEncoder().encode('not a kernel\n'));
    await browser.page.getByRole('tab', { name: 'Inspect' }).focus();
    await browser.page.keyboard.press('ArrowRight');
    await browser.page.keyboard.press('ArrowRight');
    await browser.panel('Extract').waitFor();
    await browser.page.keyboard.press('End');
    await browser.panel('Boot').waitFor();
  });
});
