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
  },
  server: { proxy: { '/api': server, '/stream': server } },
});
