import { readdirSync } from 'node:fs';
import { basename } from 'node:path';

const components = readdirSync(new URL('src', import.meta.url), { recursive: true })
  .filter((name) => name.endsWith('.svelte'))
  .map((name) => basename(name))
  .sort();
if (new Set(components).size < components.length) throw new Error('two components have the same name');

/** A short class for a component's styles, as it stands at each element: its number, after what no other class begins with. */
const cssHash = ({ filename }) => `_${components.indexOf(basename(filename)).toString(36)}`;

export default { compilerOptions: { runes: true, discloseVersion: false, cssHash } };
