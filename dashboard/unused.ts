import type { Plugin } from 'vite';

interface Cut {
  /** The end of the file's name. */
  file: string;
  text: string | RegExp;
  by: string;
}

/**
 * What Svelte has for what this dashboard does not do is left out: a flag that is the same all the time becomes a
 * constant, so that the bundler drops what hangs on it, or the one door to a feature is closed. The logic of Svelte is
 * left alone. What each saves stands beside it. A text that is not found is an error, so that another version of Svelte is looked at before it is shipped.
 */
const CUTS: readonly Cut[] = [
  // Pages that a server rendered. 0.9 kB
  { file: 'client/dom/hydration.js', text: 'export let hydrating = false;', by: 'export const hydrating = false;' },
  { file: 'client/dom/hydration.js', text: 'hydrating = value;', by: '' },
  // Parts of a page that wait for others before they are shown. 0.2 kB
  { file: 'client/dom/blocks/each.js', text: 'should_defer_append()', by: 'false' },
  { file: 'client/dom/blocks/branches.js', text: 'should_defer_append()', by: 'false' },
  // State that is changed in place: here all of it is `$state.raw`. 0.8 kB
  { file: 'client/proxy.js', text: /export function proxy\(value\) \{[\s\S]*?\n\}/, by: 'export const proxy = (value) => value;' },
  // `class:` and `style:` directives. 0.5 kB
  { file: 'shared/attributes.js', text: 'if (directives) {', by: 'if (false) {' },
  { file: 'shared/attributes.js', text: 'if (styles) {', by: 'if (false) {' },
  // Attributes that are spread. 0.2 kB
  { file: 'svelte/src/utils.js', text: /const DOM_PROPERTIES = \[[\s\S]*?\];/, by: '' },
  // Error boundaries, of which the page has one at its root that does nothing. 0.9 kB
  {
    file: 'client/dom/blocks/boundary.js',
    text: /export function boundary\(.*\) \{\n.*\n\}/,
    by: 'export const boundary = (node, props, children) => void branch(() => children(node));',
  },
  // `await` in templates. 0.5 kB
  { file: 'client/reactivity/async.js', text: 'async.length === 0 && pending.length === 0', by: 'true' },
  // What Vite loads ahead of a script: there is one, and one of styles. 0.7 kB
  { file: 'vite/preload-helper.js', text: /[\s\S]*/, by: 'export const __vitePreload = (load) => load();' },
];

/** What must not be used then, as the compiler writes it. */
const MUST_NOT: readonly [RegExp, string][] = [
  [/\$\.proxy\(/, '$state of what is no plain value: write $state.raw'],
  [/= \$\.set_(class|style)\(/, 'class: and style: directives: write class={…} and style={…} with a text'],
  [/\$\.(await|boundary|transition|animation|async\w*)\(/, 'await, boundaries and transitions'],
];

/** Leaves those out. */
export function withoutUnused(): Plugin {
  return {
    name: 'without-unused',
    apply: 'build',
    enforce: 'post',
    transform: {
      filter: { id: /\.svelte$|\.svelte\.ts$|svelte\/src\/.*\.js$|preload-helper/ },
      handler(code, id) {
        const cuts = CUTS.filter(({ file }) => id.endsWith(file));
        for (const { text, by } of cuts) {
          const cut = typeof text === 'string' ? code.replaceAll(text, by) : code.replace(text, by);
          if (cut === code) this.error(`${id} is not what it was: there is no ${text}`);
          code = cut;
        }
        if (!/node_modules|\0/.test(id)) {
          for (const [text, what] of MUST_NOT) if (text.test(code)) this.error(`${id}: the build leaves out what Svelte has for ${what}`);
          code = code
            .replace(/^\s*\$\.(reset|next)\(\w*\);$|,\s*\$\$slots: \{ default: true \}/gm, '')
            // The end of a template closes what is open in it, as the HTML standard says.
            .replace(/(\$\.from_html\(`[^`]*?)(?:<\/[\w-]+>)+`/g, '$1`');
        }
        return { code, map: null };
      },
    },
  };
}
