/** The built page in a real browser, served from a path that it does not know. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium as playwright, type Browser, type Download, type Locator, type Page } from 'playwright-core';
import { preview, type PreviewServer } from 'vite';
import { ensureWeb, root } from '../../scripts/setup.mjs';
import { chromium } from '../browser/chromium.js';

const BASE = '/any/path/';
/** The busiest machine decompresses and judges a corpus kernel in less. */
export const PATIENCE_MS = 60_000;

export class PageUnderTest {
  readonly page: Page;
  readonly #browser: Browser;
  readonly #server: PreviewServer;
  /** What the page should not do: talk to other hosts, or complain on the console. */
  readonly misdeeds: string[] = [];

  private constructor(browser: Browser, server: PreviewServer, page: Page) {
    this.#browser = browser;
    this.#server = server;
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => this.misdeeds.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') this.misdeeds.push(message.text());
    });
    page.context().on('request', (request) => {
      const own = [this.#address, 'data:', 'blob:'].some((start) => request.url().startsWith(start));
      if (!own) this.misdeeds.push(`asked for ${request.url()}`);
    });
  }

  static async start(): Promise<PageUnderTest> {
    ensureWeb();
    const server = await preview({
      root: join(root, 'web'),
      base: BASE,
      logLevel: 'error',
      preview: { host: '127.0.0.1', port: 0 },
    });
    const browser = await playwright.launch({
      executablePath: spawnSync('which', [chromium ?? ''], { encoding: 'utf8' }).stdout.trim(),
      args: ['--no-sandbox', '--disable-gpu'],
    });
    return new PageUnderTest(browser, server, await browser.newPage());
  }

  get #address(): string {
    return this.#server.resolvedUrls?.local[0] ?? '';
  }

  /** A fresh page, with a tab chosen by its address. */
  async visit(tab = ''): Promise<void> {
    await this.page.goto('about:blank');
    await this.page.goto(`${this.#address}#${tab}`);
  }

  /** Opens a file by the button, and waits until all is known. */
  async open(name: string, bytes: Uint8Array, tab = ''): Promise<void> {
    await this.visit(tab);
    await this.page.setInputFiles('#file', { name, mimeType: '', buffer: Buffer.from(bytes) });
    await this.settled();
  }

  /** Drops a file on the page, as a file manager would. */
  async drop(name: string, bytes: Uint8Array): Promise<void> {
    await this.page.evaluate(
      ({ name: fileName, base64 }) => {
        const data = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([data], fileName));
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
      },
      { name, base64: Buffer.from(bytes).toString('base64') },
    );
    await this.settled();
  }

  /** Nothing is being worked on any more. */
  async settled(): Promise<void> {
    await this.page.locator('.busy:empty').waitFor({ state: 'attached' });
  }

  async select(tab: string): Promise<void> {
    await this.page.getByRole('tab', { name: tab }).click();
  }

  /** The contents of a tab. */
  panel(tab: string): Locator {
    return this.page.getByRole('tabpanel', { name: tab });
  }

  /** A table's rows as text, folded away or not. */
  async rows(label: string): Promise<string[][]> {
    const rows = await this.page.locator(`[aria-label="${label}"] tbody tr`).all();
    return Promise.all(rows.map(async (row) => (await row.locator('td').allTextContents()).map((text) => text.trim())));
  }

  /** What stands beside a heading in a list of facts. */
  async fact(heading: string): Promise<string> {
    const row = this.page.locator('.facts > div').filter({ has: this.page.locator('dt', { hasText: heading }) });
    return (await row.locator('dd').first().textContent()) ?? '';
  }

  /** The file that a click makes the page give. */
  async download(button: string): Promise<{ name: string; bytes: Uint8Array }> {
    const waiting: Promise<Download> = this.page.waitForEvent('download');
    await this.page.getByRole('button', { name: button, exact: true }).click();
    const download = await waiting;
    return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
  }

  async close(): Promise<void> {
    await this.#browser.close();
    await this.#server.close();
  }
}
