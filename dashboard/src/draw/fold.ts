/** Folds tasks that are alike (same parents, same children) into one, so that a fan-out of 998 is one node. */

export interface Folded {
  graph: Record<string, string[]>;
  /** The tasks in each folded node, by its id. */
  groups: Map<string, string[]>;
}

const MANY = 8;

/** Fold what is alike and more than eight, but for the groups that were opened (by their id). */
export function fold(graph: Record<string, readonly string[]>, opened: ReadonlySet<string>): Folded {
  const ids = Object.keys(graph);
  const up = new Map<string, string[]>(ids.map((id) => [id, []]));
  for (const id of ids) for (const to of graph[id]!) up.get(to)?.push(id);
  const alike = new Map<string, string[]>();
  for (const id of ids) {
    const key = JSON.stringify([up.get(id)!.toSorted(), graph[id]!.toSorted()]);
    const group = alike.get(key);
    if (group) group.push(id);
    else alike.set(key, [id]);
  }
  const home = new Map<string, string>();
  const groups = new Map<string, string[]>();
  for (const members of alike.values()) {
    if (members.length <= MANY) continue;
    const id = `\u0000${members[0]}`; // no name of a task has this character
    if (opened.has(id)) continue;
    groups.set(id, members);
    for (const member of members) home.set(member, id);
  }
  const folded: Record<string, string[]> = {};
  for (const id of ids) {
    const from = home.get(id) ?? id;
    const targets = (folded[from] ??= []);
    for (const to of graph[id]!) {
      const target = home.get(to) ?? to;
      if (!targets.includes(target)) targets.push(target);
    }
  }
  return { graph: folded, groups };
}

/** What the members of a group have in common at the front: "map_" for map_1, map_2. */
export function commonName(members: readonly string[]): string {
  let common = members[0] ?? '';
  for (const member of members) while (!member.startsWith(common)) common = common.slice(0, -1);
  return common ? `${common}*` : `${members[0]} …`;
}
