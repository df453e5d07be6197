import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

/** Writes `name.gz` beside every asset, which the server sends as it is. */
function precompress(): Plugin {
  let folder = '';
  return {
    name: 'precompress',
    apply: 'build',
    configResolved(config) {
      folder = join(config.build.outDir, config.build.assetsDir);
    },
    closeBundle() {
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        if (!name.endsWith('.gz')) writeFileSync(path + '.gz', gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

const server = process.env.GOFLOW_URL ?? 'http://127.0.0.1:8181';

export default defineConfig({
  base: './',
  plugins: [svelte(), precompress()],
  build: {
    outDir: '../goflow_trio/web/static',
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: { polyfill: false },
    license: { fileName: 'assets/licenses.md' },
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // One piece for what the first page needs, one for all the rest: they are packed better than sixteen.
        codeSplitting: {
          groups: [
            { name: 'base', priority: 2, test: /node_modules|vite\/|src\/(actions|api|frames|live|prefs|router|store|model\/(cron|duration|jobs|states|time)|draw\/strip|ui\/(ActButton|Failed|Icon|Menu|Skeleton|StateMark|Strip|glyphs|window))/ },
            { name: 'rest', test: /src\/(pages\/(?!Jobs)|draw\/(ansi|fold|gantt|layout|logview)|logs|model\/(errors|fuzzy)|ui\/(Badge|Calendar|Dialog|ErrorText|Graph|Help|JsonTree|Log|Moment|Palette|RunForm|RunGrid|RunTable|Timeline)\.)/ },
          ],
        },
      },
    },
  },
  server: { proxy: { '/api': server, '/stream': server } },
});
