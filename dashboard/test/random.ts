/** Numbers that look random and are the same for one seed, so that a failing property can be run again. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A layered graph as jobs have them. */
export function graph(tasks: number, seed: number): Record<string, string[]> {
  const next = random(seed);
  const names = Array.from({ length: tasks }, (_, i) => `task_${i}`);
  const found: Record<string, string[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let i = 1; i < tasks; i++) {
    const parents = 1 + Math.floor(next() * 2.2);
    for (let p = 0; p < parents; p++) {
      const back = 1 + Math.floor(next() ** 2 * Math.min(i, 4 + tasks / 10));
      const from = found[names[i - back]!]!;
      if (!from.includes(names[i]!)) from.push(names[i]!);
    }
  }
  return found;
}
