/** Rows that are chosen, to act on all of them. */

/** The same but for one that was not there, or was. */
export const toggled = <T extends string>(all: ReadonlySet<T>, one: T): ReadonlySet<T> => choose(all, [], one, null) as ReadonlySet<T>;

/** Turn one row on or off; with `mark`, the row turned before, all from there to it the same way. */
export function choose(chosen: ReadonlySet<string>, rows: readonly string[], id: string, mark: string | null): ReadonlySet<string> {
  const at = rows.indexOf(id);
  const from = mark == null ? -1 : rows.indexOf(mark);
  const on = !chosen.has(id);
  const next = new Set(chosen);
  const range = from < 0 || at < 0 ? [id] : rows.slice(Math.min(from, at), Math.max(from, at) + 1);
  for (const one of range) next[on ? 'add' : 'delete'](one);
  return next;
}
