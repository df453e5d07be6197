import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipAsync } from '@gfx/zopfli';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';
import { withoutUnused } from './unused.ts';

/** Writes `name.gz` beside every asset, which the server sends as it is; zopfli's are 3 % smaller than gzip's best. */
function precompress(): Plugin {
  let folder = '';
  return {
    name: 'precompress',
    apply: 'build',
    configResolved(config) {
      folder = join(config.build.outDir, config.build.assetsDir);
    },
    async writeBundle() {
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        if (!name.endsWith('.gz')) writeFileSync(path + '.gz', await gzipAsync(readFileSync(path), { numiterations: 15 }));
      }
    },
  };
}

const server = process.env.GOFLOW_URL ?? 'http://127.0.0.1:8181';

export default defineConfig({
  base: './',
  plugins: [svelte(), withoutUnused(), precompress()],
  build: {
    outDir: '../goflow_trio/web/static',
    emptyOutDir: true,
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'], // have light-dark(), which is spelled out for others
    cssCodeSplit: false, // one file is packed better than two, and a page need not wait for its own
    modulePreload: false, // there is one piece to load, by the first page itself
    license: { fileName: 'assets/licenses.md' },
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // What the first page needs and all the rest: two pieces are packed better than sixteen. And the worker.
        codeSplitting: {
          includeDependenciesRecursively: false,
          groups: [
            { name: 'app', tags: ['$initial'], priority: 1 },
            { name: 'layout', test: /draw\/layout/, priority: 1 },
          ],
        },
      },
    },
  },
  server: { proxy: { '/api': server, '/stream': server } },
});
