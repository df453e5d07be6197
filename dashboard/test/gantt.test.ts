import { describe, expect, it } from 'vitest';
import type { Attempt, Execution, TaskRun } from '../src/api';
import { axisTicks, criticalPath, folded, gantt, idle } from '../src/draw/gantt';
import type { State } from '../src/model/states';

const at = (second: number): string => new Date(second * 1000).toISOString();
const attempt = (number: number, from: number, to: number | null, state: State = 'successful'): Attempt => ({
  number, state, started: at(from), finished: to == null ? null : at(to), error: null, reason: '', child: '',
});
function task(name: string, state: State, attempts: Attempt[], finished = attempts.at(-1)?.finished ?? null): TaskRun {
  return {
    name, state, attempts, finished, attempt: attempts.length, started: attempts[0]?.started ?? null,
    retryAt: null, result: null, error: null, reason: '', waiting: '',
  } as unknown as TaskRun;
}
const execution = (started: number, finished: number | null, tasks: TaskRun[]): Execution =>
  ({ id: 'e', job: 'j', state: 'running', submitted: at(0), started: at(started), finished: finished == null ? null : at(finished), tasks }) as unknown as Execution;

describe('timeline', () => {
  const dag = { a: ['b'], b: ['c'], c: [] };

  it('has attempts as segments and what is between them as waits', () => {
    const chart = gantt(execution(0, 9, [task('b', 'failed', [attempt(1, 2, 3, 'failed'), attempt(2, 5, 9, 'failed')]), task('a', 'successful', [attempt(1, 0, 2)]), task('c', 'skipped', [], at(9))]), dag, 0);
    expect(chart.rows.map((row) => row.name)).toEqual(['a', 'b', 'c']);
    const b = chart.rows[1]!;
    expect(b.segments.map((one) => [one.from, one.to])).toEqual([[2000, 3000], [5000, 9000]]);
    expect(b.waits).toEqual([[3000, 5000]]);
    expect(b.ready).toBe(2000);
    expect(criticalPath(chart.rows, dag)).toEqual({ tasks: ['b', 'a'], length: 9000 });
  });

  it('grows to now while a task runs', () => {
    const chart = gantt(execution(0, null, [task('a', 'running', [attempt(1, 1, null, 'running')])]), { a: [] }, 7000);
    expect([chart.to, chart.rows[0]!.end]).toEqual([7000, 7000]);
  });

  it('of an execution that runs again leaves out what ended before, and says what was kept', () => {
    const chart = gantt(execution(100, 110, [task('a', 'successful', [attempt(1, 0, 2)]), task('b', 'successful', [attempt(1, 2, 3, 'failed'), attempt(2, 101, 110)])]), dag, 0);
    const [b, a] = chart.rows;
    expect([b!.name, b!.segments.length, b!.waits]).toEqual(['b', 1, []]);
    expect([a!.name, a!.segments.length, a!.kept]).toEqual(['a', 0, true]);
  });

  it('has round ticks', () => {
    expect(axisTicks(257_000, 5)).toEqual([0, 60_000, 120_000, 180_000, 240_000]);
    expect(axisTicks(900, 3)).toEqual([0, 500]);
  });
});

it('long waits in which nothing ran are found, and are short on an axis that folds them', () => {
  const chart = gantt(execution(0, 100, [task('a', 'successful', [attempt(1, 0, 4, 'failed'), attempt(2, 90, 100)]), task('b', 'successful', [attempt(1, 2, 10)])]), { a: [], b: [] }, 0);
  const gaps = idle(chart);
  expect(gaps).toEqual([[10_000, 90_000]]);
  expect([0, 10_000, 50_000, 90_000, 100_000].map((at) => folded(at, gaps, 2_000))).toEqual([0, 10_000, 11_000, 12_000, 22_000]);
  expect(folded(50_000, [], 0)).toBe(50_000);
  const busy = gantt(execution(0, 90, [task('a', 'successful', [attempt(1, 30, 60)])]), { a: [] }, 0);
  expect(idle(busy), 'a third is not more than a third').toEqual([]);
});
