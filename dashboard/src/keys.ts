import { prefs } from './prefs.svelte';

/** Whether a key of one letter means something: it is pressed alone, where no text goes in, and was not switched off. */
export const isShortcut = (event: KeyboardEvent, nor = ''): boolean =>
  !(event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || prefs.keys === 'off' ||
    (event.target as HTMLElement).closest('input:not([type=checkbox]), select, textarea, dialog, [contenteditable]' + nor));
