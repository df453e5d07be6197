/**
 * Layered layout of a directed acyclic graph, left to right. Deterministic; 1,000 tasks take about a tenth of a second.
 *
 * Longest-path layers; each node then moves along its free range to where its edges are shortest. Edges over more than
 * one layer get a dummy node in each. Orders within layers: barycentre sweeps from two starts and swaps of
 * neighbours, judged by the number of crossings (a Fenwick tree counts them). Heights: each layer as near to the
 * median of its neighbours as distances allow, which is an isotonic regression (pool adjacent violators).
 *
 * This module is also the worker that does it (see `place`): it is a file of its own, imports nothing, and answers when
 * it finds itself in a worker.
 */

export interface Box {
  id: string;
  x: number;
  y: number;
  layer: number;
}

export interface Edge {
  from: string;
  to: string;
  /** Points to pass, from the right side of `from` to the left side of `to`. */
  points: [number, number][];
}

export interface Layout {
  boxes: Map<string, Box>;
  edges: Edge[];
  width: number;
  height: number;
  crossings: number;
}

export interface Sizes {
  width: number;
  height: number;
  gapX: number;
  gapY: number;
}

const SIZES: Sizes = { width: 168, height: 36, gapX: 56, gapY: 14 };
const DUMMY = 0.45; // share of a node's height that a passing edge keeps free

/** Lay out a graph given as downstream lists. Names that are no keys are left out; a cycle is cut, not followed. */
export function layout(graph: Record<string, readonly string[]>, sizes: Sizes = SIZES): Layout {
  const ids = Object.keys(graph);
  const index = new Map(ids.map((id, place) => [id, place]));
  const down: number[][] = ids.map((id) => [
    ...new Set(graph[id]!.flatMap((to) => (to !== id && index.has(to) ? [index.get(to)!] : []))),
  ]);
  const layers = shorten(assign(down), down);
  const net = expand(down, layers);
  const order = arrange(net);
  const y = heights(net, order, sizes);
  const top = Math.min(0, ...y);
  const boxes = new Map<string, Box>();
  const step = sizes.width + sizes.gapX;
  ids.forEach((id, node) => {
    boxes.set(id, { id, layer: layers[node]!, x: layers[node]! * step, y: y[node]! - top });
  });
  const edges: Edge[] = net.chains.map((chain) => {
    const from = chain[0]!;
    const to = chain[chain.length - 1]!;
    const points: [number, number][] = [[net.layer[from]! * step + sizes.width, y[from]! - top + sizes.height / 2]];
    for (const node of chain.slice(1, -1)) {
      const x = net.layer[node]! * step;
      const level = y[node]! - top + sizes.height / 2;
      points.push([x, level], [x + sizes.width, level]);
    }
    points.push([net.layer[to]! * step, y[to]! - top + sizes.height / 2]);
    return { from: ids[from]!, to: ids[to]!, points };
  });
  let height = 0;
  let width = 0;
  for (const box of boxes.values()) {
    height = Math.max(height, box.y + sizes.height);
    width = Math.max(width, box.x + sizes.width);
  }
  for (const edge of edges) for (const [, level] of edge.points) height = Math.max(height, level + 4);
  return { boxes, edges, width, height, crossings: countAll(net, order) };
}

/** The path of an edge: straight through the layers it passes, curved between them. */
export function edgePath(points: readonly [number, number][]): string {
  let path = `M${points[0]![0]},${round(points[0]![1])}`;
  for (let i = 1; i < points.length; i++) {
    const [x0, y0] = points[i - 1]!;
    const [x1, y1] = points[i]!;
    if (Math.abs(y0 - y1) < 0.5) path += `L${x1},${round(y1)}`;
    else {
      const middle = round((x0 + x1) / 2);
      path += `C${middle},${round(y0)} ${middle},${round(y1)} ${x1},${round(y1)}`;
    }
  }
  return path;
}

const round = (value: number): number => Math.round(value * 10) / 10;

interface Net {
  layer: number[];
  layers: number[][];
  up: number[][];
  down: number[][];
  real: number;
  chains: number[][];
}

/** Longest-path layers, by Kahn's algorithm. What a cycle holds back comes last. */
function assign(down: number[][]): number[] {
  const waits = new Array<number>(down.length).fill(0);
  for (const targets of down) for (const to of targets) waits[to]!++;
  const layer = new Array<number>(down.length).fill(0);
  const queue = waits.flatMap((count, node) => (count ? [] : [node]));
  const seen = new Set(queue);
  for (let head = 0; head < down.length; head++) {
    if (head >= queue.length) {
      const stuck = layer.findIndex((_, node) => !seen.has(node));
      if (stuck < 0) break;
      seen.add(stuck);
      queue.push(stuck);
    }
    const node = queue[head]!;
    down[node] = down[node]!.filter((to) => !queueBefore(queue, head, to, seen));
    for (const to of down[node]!) {
      layer[to] = Math.max(layer[to]!, layer[node]! + 1);
      if (--waits[to]! === 0 && !seen.has(to)) {
        seen.add(to);
        queue.push(to);
      }
    }
  }
  return layer;
}

/** Whether an edge leads back to what was placed already: only a cycle has such edges. */
function queueBefore(queue: number[], head: number, to: number, seen: Set<number>): boolean {
  return seen.has(to) && queue.lastIndexOf(to, head) >= 0;
}

/** Move each node along its free range towards where its edges are shorter, until nothing moves. */
function shorten(layer: number[], down: number[][]): number[] {
  const up: number[][] = down.map(() => []);
  down.forEach((targets, node) => targets.forEach((to) => up[to]!.push(node)));
  for (let sweep = 0; sweep < 8; sweep++) {
    let moved = false;
    for (let i = 0; i < layer.length; i++) {
      const node = sweep % 2 ? i : layer.length - 1 - i;
      const outs = down[node]!;
      const ins = up[node]!;
      if (!outs.length || outs.length === ins.length) continue;
      let to = layer[node]!;
      if (outs.length > ins.length) {
        to = Infinity;
        for (const next of outs) to = Math.min(to, layer[next]! - 1);
      } else {
        to = 0;
        for (const before of ins) to = Math.max(to, layer[before]! + 1);
      }
      if (to !== layer[node]) {
        layer[node] = to;
        moved = true;
      }
    }
    if (!moved) break;
  }
  const least = layer.reduce((a, b) => Math.min(a, b), Infinity);
  return least > 0 && Number.isFinite(least) ? layer.map((value) => value - least) : layer;
}

/** Replace long edges by chains of dummies, one a layer. */
function expand(down: number[][], layers: number[]): Net {
  const layer = layers.slice();
  const up: number[][] = layers.map(() => []);
  const next: number[][] = layers.map(() => []);
  const chains: number[][] = [];
  const link = (from: number, to: number) => {
    next[from]!.push(to);
    up[to]!.push(from);
  };
  down.forEach((targets, from) => {
    for (const to of targets) {
      const chain = [from];
      let last = from;
      for (let at = layers[from]! + 1; at < layers[to]!; at++) {
        const dummy = layer.length;
        layer.push(at);
        up.push([]);
        next.push([]);
        link(last, dummy);
        chain.push(dummy);
        last = dummy;
      }
      link(last, to);
      chain.push(to);
      chains.push(chain);
    }
  });
  const rows: number[][] = [];
  layer.forEach((at, node) => (rows[at] ??= []).push(node));
  for (let at = 0; at < rows.length; at++) rows[at] ??= [];
  return { layer, layers: rows, up, down: next, real: layers.length, chains };
}

/** The best order found in each layer. */
function arrange(net: Net): number[][] {
  const size = net.layer.length;
  const sweeps = size > 4_000 ? 4 : size > 1_500 ? 8 : 16;
  let best: number[][] = [];
  let least = Infinity;
  for (const start of [net.layers.map((row) => row.slice()), depthFirst(net)]) {
    const order = start;
    const place = new Float64Array(size);
    const remember = () => {
      const count = countAll(net, order);
      if (count < least) {
        least = count;
        best = order.map((row) => row.slice());
      }
    };
    for (const row of order) row.forEach((node, i) => (place[node] = i));
    remember();
    let stale = 0;
    for (let sweep = 0; sweep < sweeps && least > 0 && stale < 4; sweep++) {
      const before = least;
      const right = sweep % 2 === 0;
      for (let i = 0; i < order.length; i++) {
        const row = order[right ? i : order.length - 1 - i]!;
        sortByNeighbours(row, right ? net.up : net.down, place);
      }
      if (size <= 3_000) for (const row of order) swapNeighbours(net, row, place);
      remember();
      stale = least < before ? 0 : stale + 1;
    }
    if (least === 0) break;
  }
  return best;
}

function sortByNeighbours(row: number[], neighbours: number[][], place: Float64Array): void {
  const wish = new Map<number, number>();
  for (const node of row) {
    const near = neighbours[node]!;
    let sum = 0;
    for (const other of near) sum += place[other]!;
    wish.set(node, near.length ? sum / near.length : place[node]!);
  }
  row.sort((a, b) => wish.get(a)! - wish.get(b)! || place[a]! - place[b]!);
  row.forEach((node, i) => (place[node] = i));
}

/** Swap neighbours of one layer where that saves crossings. */
function swapNeighbours(net: Net, row: number[], place: Float64Array): void {
  for (let round = 0; round < 2; round++) {
    let swapped = false;
    for (let i = 0; i + 1 < row.length; i++) {
      const a = row[i]!;
      const b = row[i + 1]!;
      const now = between(net.up[a]!, net.up[b]!, place) + between(net.down[a]!, net.down[b]!, place);
      if (!now) continue;
      const then = between(net.up[b]!, net.up[a]!, place) + between(net.down[b]!, net.down[a]!, place);
      if (then < now) {
        row[i] = b;
        row[i + 1] = a;
        place[b] = i;
        place[a] = i + 1;
        swapped = true;
      }
    }
    if (!swapped) return;
  }
}

/** Crossings of the edges of two nodes, the first above the second. */
function between(first: number[], second: number[], place: Float64Array): number {
  if (first.length * second.length > 2_500) return 0;
  let count = 0;
  for (const a of first) for (const b of second) if (place[a]! > place[b]!) count++;
  return count;
}

function depthFirst(net: Net): number[][] {
  const rows: number[][] = net.layers.map(() => []);
  const seen = new Uint8Array(net.layer.length);
  const stack: number[] = [];
  for (const row of net.layers) {
    for (const start of row) {
      if (seen[start]) continue;
      stack.push(start);
      while (stack.length) {
        const node = stack.pop()!;
        if (seen[node]) continue;
        seen[node] = 1;
        rows[net.layer[node]!]!.push(node);
        for (let i = net.down[node]!.length - 1; i >= 0; i--) stack.push(net.down[node]![i]!);
      }
    }
  }
  return rows;
}

function countAll(net: Net, order: number[][]): number {
  const place = new Int32Array(net.layer.length);
  for (const row of order) row.forEach((node, i) => (place[node] = i));
  let total = 0;
  for (let at = 0; at + 1 < order.length; at++) {
    const width = order[at + 1]!.length;
    const tree = new Int32Array(width + 1);
    let seen = 0;
    for (const node of order[at]!) {
      const targets = net.down[node]!.map((to) => place[to]!).sort((a, b) => a - b);
      for (const to of targets) {
        let below = 0;
        for (let i = to + 1; i > 0; i -= i & -i) below += tree[i]!;
        total += seen - below;
      }
      for (const to of targets) {
        for (let i = to + 1; i <= width; i += i & -i) tree[i]!++;
        seen++;
      }
    }
  }
  return total;
}

/** The top of every node, dummies included. */
function heights(net: Net, order: number[][], sizes: Sizes): Float64Array {
  const y = new Float64Array(net.layer.length);
  const full = sizes.height + sizes.gapY;
  const room = (node: number) => (node < net.real ? full : full * DUMMY);
  for (const row of order) {
    let at = 0;
    for (const node of row) {
      y[node] = at;
      at += room(node);
    }
    for (const node of row) y[node]! -= at / 2;
  }
  const sweeps = net.layer.length > 3_000 ? 6 : 12;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const right = sweep % 2 === 0;
    for (let i = 0; i < order.length; i++) {
      const row = order[right ? i : order.length - 1 - i]!;
      const last = sweep >= sweeps - 2;
      const wishes = row.map((node) => {
        const near = last ? [...net.up[node]!, ...net.down[node]!] : (right ? net.up : net.down)[node]!;
        return near.length ? middle(near.map((other) => y[other]!)) : y[node]!;
      });
      const weights = row.map((node) => (node < net.real ? 1 : 4)); // long edges are kept straight
      isotonic(row, wishes, weights, room, y);
    }
  }
  return y;
}

function middle(values: number[]): number {
  values.sort((a, b) => a - b);
  const half = values.length >> 1;
  return values.length % 2 ? values[half]! : (values[half - 1]! + values[half]!) / 2;
}

/** Put the nodes of a layer as near to their wishes as order and distances allow, least squares. */
function isotonic(
  row: number[],
  wishes: number[],
  weights: number[],
  room: (node: number) => number,
  y: Float64Array,
): void {
  const offsets = new Float64Array(row.length);
  for (let i = 1; i < row.length; i++) offsets[i] = offsets[i - 1]! + (room(row[i - 1]!) + room(row[i]!)) / 2;
  const values: number[] = [];
  const masses: number[] = [];
  const counts: number[] = [];
  for (let i = 0; i < row.length; i++) {
    let value = wishes[i]! - offsets[i]!;
    let mass = weights[i]!;
    let count = 1;
    while (values.length && values[values.length - 1]! >= value) {
      const other = masses.pop()!;
      value = (value * mass + values.pop()! * other) / (mass + other);
      mass += other;
      count += counts.pop()!;
    }
    values.push(value);
    masses.push(mass);
    counts.push(count);
  }
  let at = 0;
  for (let block = 0; block < values.length; block++) {
    for (let i = 0; i < counts[block]!; i++, at++) y[row[at]!] = values[block]! + offsets[at]!;
  }
}

declare const WorkerGlobalScope: (new () => object) | undefined;
declare const trustedTypes: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } } | undefined;

if (typeof WorkerGlobalScope !== 'undefined' && self instanceof WorkerGlobalScope) {
  self.onmessage = ({ data }: MessageEvent<Parameters<typeof layout>>) => self.postMessage(layout(...data));
}

let policy: { createScriptURL(url: string): string } | undefined;

/** The address of this module, as browsers want it that ask for trusted types. */
export function scriptUrl(): string {
  if (typeof trustedTypes === 'undefined') return import.meta.url;
  policy ??= trustedTypes.createPolicy('goflow-worker', { createScriptURL: (url: string) => url });
  return policy.createScriptURL(import.meta.url);
}
