import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipAsync } from '@gfx/zopfli';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

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

/**
 * Leaves out what Svelte has for pages that a server rendered: this dashboard has none. Svelte guards all of it by one
 * variable, so that a bundler can see that it is not used; ours sees it when the variable is a constant, and does not
 * see that calls of what is empty then can go.
 */
function withoutHydration(): Plugin {
  return {
    name: 'without-hydration',
    apply: 'build',
    enforce: 'post',
    transform: {
      filter: { id: /\.svelte$|client\/dom\/hydration\.js$/ },
      handler(code, id) {
        if (id.endsWith('.svelte')) {
          const calls = code.replace(/^\s*\$\.(reset|next)\(\w*\);$/gm, '');
          // The end of a template closes what is open in it, as the HTML standard says.
          return { code: calls.replace(/(\$\.from_html\(`[^`]*?)(?:<\/[\w-]+>)+`/g, '$1`'), map: null };
        }
        const constant = code
          .replace('export let hydrating = false;', 'export const hydrating = false;')
          .replace('hydrating = value;', '');
        if (/(?<!const )\bhydrating = /.test(constant)) this.error('svelte hydrates in another way: see withoutHydration');
        return { code: constant, map: null };
      },
    },
  };
}

const server = process.env.GOFLOW_URL ?? 'http://127.0.0.1:8181';

export default defineConfig({
  base: './',
  plugins: [svelte(), withoutHydration(), precompress()],
  build: {
    outDir: '../goflow_trio/web/static',
    emptyOutDir: true,
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'], // have light-dark(), which is spelled out for others
    cssCodeSplit: false, // one file is packed better than two, and a page need not wait for its own
    modulePreload: { polyfill: false },
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
            { name: 'rest' },
          ],
        },
      },
    },
  },
  server: { proxy: { '/api': server, '/stream': server } },
});
