/** The list of jobs: what it counts, how it is grouped, which rows a gesture chooses. */
import { describe, expect, it } from 'vitest';
import { choose } from '../src/model/choice';
import { grouped, success, type Grouping } from '../src/model/jobs';
import type { State } from '../src/model/states';
import type { JobState } from '../src/store';

const job = (name: string, state: State, ...tags: string[]) => ({ name, tags, bars: [{ state }] }) as unknown as JobState;
const JOBS = [job('etl/b', 'failed', 'x', 'y'), job('lone', 'running'), job('etl/a', 'successful', 'y'), job('web/c', 'running', 'x')];

describe('groups', () => {
  const shown = (by: Grouping, ...closed: string[]) =>
    grouped(JOBS, by, new Set(closed)).map((row) => ('job' in row ? row.job.name : `${row.group || 'others'}: ${row.jobs.length} ${row.state}`));

  it.each([
    ['none', [], ['etl/b', 'lone', 'etl/a', 'web/c']],
    ['prefix', [], ['etl/: 2 failed', 'etl/b', 'etl/a', 'web/: 1 running', 'web/c', 'others: 1 running', 'lone']],
    ['prefix', ['etl/', ''], ['etl/: 2 failed', 'web/: 1 running', 'web/c', 'others: 1 running']],
    ['tag', ['y'], ['x: 2 failed', 'etl/b', 'web/c', 'y: 1 successful', 'others: 1 running', 'lone']],
  ] as const)('%s, closed %s', (by, closed, rows) => expect(shown(by, ...closed)).toEqual(rows));
});

describe('choosing', () => {
  const rows = ['a', 'b', 'c', 'd'];
  it.each([
    [[], 'b', null, 'b'], [['b'], 'b', null, ''], [['a'], 'c', 'a', 'abc'], [['d'], 'b', 'd', 'dbc'], [['a', 'b', 'c'], 'a', 'c', ''], [[], 'b', 'gone', 'b'],
  ] as const)('of %s, %s after %s gives %s', (before, id, mark, after) => expect([...choose(new Set(before), rows, id, mark)].join('')).toBe(after));
});

it('counts what ended', () => {
  expect(success({})).toEqual({ share: '–', ended: 0 });
  expect(success({ successful: 2, running: 5 })).toEqual({ share: '100 %', ended: 2 });
  expect(success({ successful: 2, failed: 1, cancelled: 0, notstarted: 1 })).toEqual({ share: '66.7 %', ended: 3 });
});
