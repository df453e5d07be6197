import { describe, expect, it } from 'vitest';
import { commonName, fold } from '../src/draw/fold';
import { edgePath, layout } from '../src/draw/layout';
import { graph } from './random';

const H = 36;
const W = 168;

describe('layout', () => {
  const corpus = [1, 2, 12, 60, 200].flatMap((tasks) => [1, 2, 3].map((seed) => graph(tasks, seed)));

  it.each(corpus.map((one, i) => [i, one] as const))('edges go right and boxes do not overlap (%i)', (_, one) => {
    const made = layout(one);
    expect(made.boxes.size).toBe(Object.keys(one).length);
    for (const edge of made.edges) {
      expect(made.boxes.get(edge.from)!.layer).toBeLessThan(made.boxes.get(edge.to)!.layer);
      for (let i = 1; i < edge.points.length; i++) expect(edge.points[i]![0]).toBeGreaterThanOrEqual(edge.points[i - 1]![0]);
    }
    const boxes = [...made.boxes.values()];
    for (const a of boxes) {
      expect(a.x).toBeGreaterThanOrEqual(0);
      expect(a.y).toBeGreaterThanOrEqual(0);
      expect(a.x + W).toBeLessThanOrEqual(made.width);
      expect(a.y + H).toBeLessThanOrEqual(made.height + 0.001);
      for (const b of boxes) if (a !== b && a.layer === b.layer) expect(Math.abs(a.y - b.y)).toBeGreaterThanOrEqual(H);
    }
  });

  it('is the same for the same graph', () => {
    const one = graph(80, 5);
    expect(layout(one)).toEqual(layout(structuredClone(one)));
  });

  it('keeps trees, chains and ladders without a crossing', () => {
    const tree: Record<string, string[]> = {};
    for (let i = 0; i < 31; i++) tree[`n${i}`] = i < 15 ? [`n${2 * i + 1}`, `n${2 * i + 2}`] : [];
    expect(layout(tree).crossings).toBe(0);
    const twisted = { a: ['y'], b: ['x'], x: [], y: [] };
    expect(layout(twisted).crossings).toBe(0);
  });

  it('does not get worse on a fixed corpus', () => {
    const crossings = [1, 2, 3].map((seed) => layout(graph(60, seed)).crossings);
    crossings.forEach((count, i) => expect(count).toBeLessThanOrEqual([12, 24, 22][i]!));
  });

  it('survives a cycle, an edge to nowhere and nothing at all', () => {
    expect(layout({ a: ['b'], b: ['a', 'gone'] }).boxes.size).toBe(2);
    expect(layout({}).width).toBe(0);
    expect(layout({ a: ['a'] }).edges).toEqual([]);
  });

  it('takes 1,000 tasks in less than three times what was measured', () => {
    const one = graph(1000, 9);
    layout(graph(100, 1));
    const begun = performance.now();
    layout(one);
    expect(performance.now() - begun).toBeLessThan(3 * 400);
  });

  it('draws an edge as one path through its points', () => {
    expect(edgePath([[0, 10], [50, 10]])).toBe('M0,10L50,10');
    expect(edgePath([[0, 0], [100, 40]])).toBe('M0,0C50,0 50,40 100,40');
  });
});

describe('fold', () => {
  const fan: Record<string, string[]> = { start: [], end: [] };
  for (let i = 0; i < 20; i++) {
    fan.start!.push(`map_${i}`);
    fan[`map_${i}`] = ['end'];
  }

  it('makes one node of what is alike, and opens it again', () => {
    const folded = fold(fan, new Set());
    const [id] = [...folded.groups.keys()];
    expect(Object.keys(folded.graph).sort()).toEqual([id, 'end', 'start'].sort());
    expect(folded.graph.start).toEqual([id]);
    expect(folded.graph[id!]).toEqual(['end']);
    expect(commonName(folded.groups.get(id!)!)).toBe('map_*');
    expect(fold(fan, new Set([id!])).graph).toEqual(fan);
  });

  it('makes one node of a group, one of those within it, and none that would be a loop', () => {
    const graph = { a: ['b', 'c'], b: ['d'], c: ['d', 'x'], d: ['e'], x: ['e'], e: [] };
    const groups = { out: ['b', 'c'], 'out/in': ['d', 'x'], alone: ['a'] };
    const whole = fold(graph, new Set(), groups);
    expect(whole.graph).toEqual({ a: ['\0out'], '\0out': ['e'], e: [] });
    expect([...whole.names.values()]).toEqual(['out ×4']);
    const open = fold(graph, new Set(['\0out']), groups);
    expect(open.graph).toEqual({ a: ['b', 'c'], b: ['\0out/in'], c: ['\0out/in'], '\0out/in': ['e'], e: [] });
    expect(fold(graph, new Set(['\0out', '\0out/in']), groups).graph).toEqual(graph);
    expect(fold(graph, new Set(), { loop: ['a', 'e'] }).graph).toEqual(graph);
    const two = fold({ a: ['d'], b: [], c: ['b'], d: [] }, new Set(), { one: ['a', 'b'], two: ['c', 'd'] });
    expect(two.groups.size, 'two that would be before each other').toBe(1);
  });

  it('leaves eight alone', () => {
    const few = { a: ['b', 'c'], b: [], c: [] };
    expect(fold(few, new Set()).graph).toEqual(few);
  });
});
