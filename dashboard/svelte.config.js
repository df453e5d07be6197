const files = new Map();

/** A short class for the styles of a component: it stands at each of its elements. Two that are alike end the build. */
function cssHash({ hash, filename }) {
  const name = 's' + hash(filename).slice(0, 3);
  if ((files.get(name) ?? filename) !== filename) throw new Error(`${filename} and ${files.get(name)} are both ${name}`);
  files.set(name, filename);
  return name;
}

export default { compilerOptions: { runes: true, discloseVersion: false, cssHash } };
