/** Folds groups of tasks, and tasks that are alike (same parents, same children), into one node each. */

type Edges = Record<string, readonly string[]>;

export interface Folded {
  graph: Record<string, string[]>;
  /** The tasks in each folded node, by its id. */
  groups: Map<string, string[]>;
  /** What each is called, by its id. */
  names: Map<string, string>;
}

const MANY = 8;
const MARK = '\u0000'; // no name of a task has this character

/** Fold groups, and what is alike and more than eight, but for what was opened (by its id). */
export function fold(graph: Edges, opened: ReadonlySet<string>, groups: Edges = {}): Folded {
  const found: Folded = { graph: contract(graph, new Map()), groups: new Map(), names: new Map() };
  for (const [id, members] of closed(graph, opened, groups)) put(found, id, members, id.slice(1));
  for (const members of alike(found.graph)) put(found, MARK + MARK + members[0], members, commonName(members), opened);
  return found;
}

function put(found: Folded, id: string, members: readonly string[], name: string, opened?: ReadonlySet<string>): void {
  const home = new Map(members.map((member) => [member, id]));
  if (opened?.has(id) || wouldLoop(found.graph, home)) return;
  found.graph = contract(found.graph, home);
  found.groups.set(id, [...members]);
  found.names.set(id, `${name} ×${members.length}`);
}

/** The outermost groups that were not opened: one within another is named `outer/inner`. */
function closed(graph: Edges, opened: ReadonlySet<string>, groups: Edges): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [group, members] of Object.entries(groups)) {
    const parts = group.split('/');
    const id = parts.map((_, i) => MARK + parts.slice(0, i + 1).join('/')).find((one) => !opened.has(one));
    const here = members.filter((member) => member in graph);
    if (id && here.length) found.set(id, [...(found.get(id) ?? []), ...here]);
  }
  for (const [id, members] of found) if (members.length < 2) found.delete(id);
  return found;
}

function alike(graph: Edges): string[][] {
  const up = new Map<string, string[]>(Object.keys(graph).map((id) => [id, []]));
  for (const id of Object.keys(graph)) for (const to of graph[id]!) up.get(to)?.push(id);
  const found = new Map<string, string[]>();
  for (const id of Object.keys(graph)) {
    if (id.startsWith(MARK)) continue;
    const key = JSON.stringify([up.get(id)!.toSorted(), graph[id]!.toSorted()]);
    found.set(key, [...(found.get(key) ?? []), id]);
  }
  return [...found.values()].filter((members) => members.length > MANY);
}

/** Whether something outside comes after one of the members and before another: as one node, it would be a loop. */
function wouldLoop(graph: Edges, home: ReadonlyMap<string, string>): boolean {
  const stack = [...home.keys()].flatMap((member) => graph[member]!.filter((to) => !home.has(to)));
  const seen = new Set<string>();
  while (stack.length) {
    const id = stack.pop()!;
    if (home.has(id)) return true;
    if (!seen.has(id)) stack.push(...(graph[id] ?? []));
    seen.add(id);
  }
  return false;
}

/** The graph with some nodes made part of others. */
function contract(graph: Edges, home: ReadonlyMap<string, string>): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const id of Object.keys(graph)) {
    const from = home.get(id) ?? id;
    const targets = (found[from] ??= []);
    for (const to of graph[id]!) {
      const target = home.get(to) ?? to;
      if (target !== from && !targets.includes(target)) targets.push(target);
    }
  }
  return found;
}

/** What the members of a group have in common at the front: "map_" for map_1, map_2. */
export function commonName(members: readonly string[]): string {
  let common = members[0] ?? '';
  for (const member of members) while (!member.startsWith(common)) common = common.slice(0, -1);
  return common ? `${common}*` : `${members[0]} …`;
}
