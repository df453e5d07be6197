import type { Plugin } from 'vite';

type Cut = readonly [text: string | RegExp, by: string];

/**
 * What Svelte has for what this dashboard does not do, file by file, and what stands there instead: pages that a server
 * rendered; components that wait (`await` in templates, boundaries, forks, `flushSync`); transitions and animations;
 * state that is changed in place (`$state` of objects: here it is `$state.raw`); `class:` and `style:` directives; an
 * application that is taken off its page again.
 *
 * A text that is not found is an error, so that another version of Svelte is looked at before it is shipped.
 */
const CUTS: Record<string, readonly Cut[]> = {
  'client/dom/hydration.js': [
    ['export let hydrating = false;', 'export const hydrating = false;'],
    ['hydrating = value;', ''],
  ],
  'client/render.js': [
    [/boundary\(\s*\(anchor_node\),\s*\{\s*pending: \(\) => \{\}\s*\},\s*\(anchor_node\) => \{/, 'branch(() => {'],
    [/,\s*transformError\s*\);/, ');'],
    ["import { component_root } from './reactivity/effects.js';", "import { branch, component_root } from './reactivity/effects.js';"],
    [/var counts = listeners\.get\(node\);[\s\S]*?counts\.set\(event_name, count \+ 1\);\s*\}/, 'node.addEventListener(event_name, handle_event_propagation, { passive });'],
    [/return \(\) => \{\s*for \(var event_name of registered_events\)[\s\S]*?\n\t\t\};/, ''],
    ['mounted_components.set(component, unmount);', ''],
  ],
  'client/reactivity/async.js': [[/var pending = blockers\.filter[\s\S]*?\n\}/, 'fn(sync.map(derived));\n}']],
  'client/reactivity/batch.js': [
    ['this.#is_deferred()', 'false'],
    ['this.#find_earlier_batch()', 'null'],
    ['this.#skipped_branches.has(effect)', 'false'],
    ['this.apply();', ''],
    ['!this.is_fork', 'true'],
    [/\n\tis_fork = false;/, ''],
    ['export let batch_values = null;', 'export const batch_values = null;'],
    [/(?<!const )batch_values = (null|previous_batch_values|new Map\(\));/g, ''],
    [/for \(const fn of this\.#commit_callbacks\) fn\(this\);\s*this\.#commit_callbacks\.clear\(\);/, ''],
    [/for \(const \[e, status\] of this\.#dirty_reactions\) \{[\s\S]*?\n\t\t\}/, ''],
    ['this.#dirty_reactions.clear();', ''],
    [/if \(\(flags & BLOCK_EFFECT\) !== 0\) this\.add_dirty_reaction\(effect, MAYBE_DIRTY\);/, ''],
    ['this.#deferred?.resolve();', ''],
    ['this.#pending === 0 && ', ''],
    [/if \(\s*effect\.b\?\.is_pending[\s\S]*?return;\s*\}/, ''],
    [/for \(const fn of this\.#discard_callbacks\)[\s\S]*?deferred\.reject\(OBSOLETE\);\s*\}/, ''],
    [/\n\t(skip_effect|unskip_effect|activate|deactivate|register_created_effect|increment|decrement|transfer_reactions|add_dirty_reaction|oncommit|ondiscard|settled|apply)\([^{]*\) \{[\s\S]*?\n\t\}/g, ''],
  ],
  'client/reactivity/deriveds.js': [
    ['!current_batch?.is_fork || derived.deps === null', 'true'],
    ['current_batch?.is_fork', 'false'],
  ],
  'client/reactivity/sources.js': [['!batch.is_fork && ', '']],
  'client/runtime.js': [
    ['current_batch?.is_fork', 'false'],
  ],
  'client/reactivity/effects.js': [
    ['current_batch?.register_created_effect(effect);', ''],
    ['effect.nodes && effect.nodes.t', 'null'],
  ],
  'client/context.js': [[/return !legacy_mode_flag \|\| \(.*\);/, 'return true;']],
  'client/proxy.js': [[/export function proxy\(value\) \{[\s\S]*?\n\}/, 'export const proxy = (value) => value;']],
  'client/dom/blocks/each.js': [
    ['(flags & EACH_IS_ANIMATED) !== 0', 'false'],
    ['should_defer_append()', 'false'],
  ],
  'client/dom/blocks/branches.js': [
    [
      /export class BranchManager \{[\s\S]*/,
      `export class BranchManager {
	constructor(anchor) {
		this.anchor = anchor;
		this.key = this.effect = null;
	}
	ensure(key, fn) {
		if (this.ran && this.key === key) return;
		const effect = fn ? branch(() => fn(this.anchor)) : null;
		if (this.effect) destroy_effect(this.effect);
		this.ran = true;
		this.key = key;
		this.effect = effect;
	}
}`,
    ],
  ],
  'shared/attributes.js': [
    [/if \(directives\) \{[\s\S]*?\n\t\}/, ''],
    [/const whitespace = .*;/, ''],
    [/if \(styles\) \{[\s\S]*?\n\t\}\n/, ''],
  ],
  'client/dom/elements/class.js': [[/else if \(next_classes[\s\S]*?\n\t\}\n/, '']],
  'client/dom/elements/style.js': [[/else if \(next_styles\)[\s\S]*?\n\t\}\n/, '']],
  'src/utils.js': [[/const DOM_PROPERTIES = \[[\s\S]*?\];/, 'const DOM_PROPERTIES = [];']],
};

/** What must not be used then, as the compiler writes it, and how it is said instead. */
const MUST_NOT: readonly [RegExp, string][] = [
  [/\$\.proxy\(/, '$state of what is no plain value: write $state.raw'],
  [/= \$\.set_class\(/, 'class: directive: write class={…} with a text'],
  [/= \$\.set_style\(/, 'style: directive: write style={…} with a text'],
  [/\$\.(await|boundary|transition|animation|async\w*)\(/, 'await, boundaries and transitions'],
];

/** Leaves those out. */
export function withoutUnused(): Plugin {
  return {
    name: 'without-unused',
    apply: 'build',
    enforce: 'post',
    transform: {
      filter: { id: /\.svelte$|\.svelte\.ts$|svelte\/src\/.*\.js$/ },
      handler(code, id) {
        if (!id.includes('node_modules')) {
          for (const [text, what] of MUST_NOT) if (text.test(code)) this.error(`${id}: the build leaves out what Svelte has for ${what}`);
          const calls = code.replace(/^\s*\$\.(reset|next)\(\w*\);$/gm, '');
          // The end of a template closes what is open in it, as the HTML standard says.
          return { code: calls.replace(/(\$\.from_html\(`[^`]*?)(?:<\/[\w-]+>)+`/g, '$1`'), map: null };
        }
        const file = Object.keys(CUTS).find((name) => id.endsWith(name));
        if (!file) return null;
        let left = code.replace(/\/\*\*[\s\S]*?\*\/\s?/g, '').replace(/^\s*\/\/.*\n/gm, '');
        for (const [text, by] of CUTS[file]!) {
          const cut = typeof text === 'string' ? left.replaceAll(text, by) : left.replace(text, by);
          if (cut === left) this.error(`${id} is not what it was: there is no ${text}`);
          left = cut;
        }
        return { code: left, map: null };
      },
    },
  };
}
