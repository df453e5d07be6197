/** Replaying the feed over a snapshot gives what the server answers afterwards, however the feed is cut or repeated. */
import { describe, expect, it } from 'vitest';
import type { Context, FeedEvent, Overview, Runs } from '../src/api';
import { parseFrames } from '../src/frames';
import { applyToExecution } from '../src/execution';
import { applyToRuns } from '../src/runs';
import { applyToJobs, jobsFrom, type JobsState } from '../src/store';
import { random } from './random';
import session from './recorded.json';

interface Recorded {
  overview: Overview;
  events: FeedEvent[];
  after: Overview;
  executions: { before: Context; after: Context }[];
  rows: Runs;
}
const recorded = session as unknown as Recorded;

/** What a page shows of the jobs. Lengths are compared apart: the snapshot has three digits of them. */
function shown(state: JobsState) {
  return [...state.jobs.values()].map((job) => ({
    name: job.name,
    active: job.active,
    failure: job.failure,
    bars: job.bars.map((bar) => ({
      state: bar.state,
      took: bar.took != null,
      retrying: [...bar.retrying],
    })),
    last: job.bars.at(-1)?.id,
  }));
}

/** The events in pieces of any size, some told twice, as a stream that drops and comes back gives them. */
function* cut(events: readonly FeedEvent[], seed: number): Generator<FeedEvent[]> {
  const next = random(seed);
  for (let at = 0; at < events.length; ) {
    const size = 1 + Math.floor(next() * 12);
    const back = next() < 0.3 ? Math.min(at, Math.floor(next() * 20)) : 0;
    yield events.slice(at - back, at + size);
    at += size;
  }
}

describe('jobs', () => {
  it('are what the server says afterwards', () => {
    const start = jobsFrom(recorded.overview, 100);
    const after = applyToJobs(start, recorded.events);
    expect(after.seq).toBe(recorded.after.seq);
    const answer = jobsFrom(recorded.after, 100);
    expect(shown(after)).toEqual(shown(answer));
    for (const job of after.jobs.values()) {
      job.bars.forEach((bar, i) => expect(Math.abs((bar.took ?? 0) - (answer.jobs.get(job.name)!.bars[i]!.took ?? 0))).toBeLessThan(20));
    }
    expect(applyToJobs(after, recorded.events)).toBe(after);
  });

  it('do not depend on how the feed is cut or repeated', () => {
    const whole = shown(applyToJobs(jobsFrom(recorded.overview, 100), recorded.events));
    for (let seed = 1; seed <= 60; seed++) {
      let state = jobsFrom(recorded.overview, 100);
      for (const piece of cut(recorded.events, seed)) state = applyToJobs(state, piece);
      expect(shown(state), `seed ${seed}`).toEqual(whole);
    }
  });

  it('keep the newest bars only', () => {
    const few = applyToJobs(jobsFrom(recorded.overview, 1), recorded.events);
    for (const job of few.jobs.values()) expect(job.bars.length).toBeLessThanOrEqual(1);
  });
});

describe.each(recorded.executions.map((one) => [one.before.execution.job, one] as const))('an execution of %s', (_, one) => {
  const plain = (view: Context) => {
    const { modifiedTimestamp: _drop, ...rest } = view.execution as Context['execution'] & { modifiedTimestamp?: string };
    return rest;
  };

  it('is what the server says afterwards', () => {
    expect(plain(applyToExecution(one.before, recorded.events))).toEqual(plain(one.after));
  });

  it('does not depend on how the feed is cut or repeated', () => {
    const whole = plain(applyToExecution(one.before, recorded.events));
    for (let seed = 1; seed <= 30; seed++) {
      let view = one.before;
      for (const piece of cut(recorded.events, seed)) view = applyToExecution(view, piece);
      expect(plain(view), `seed ${seed}`).toEqual(whole);
    }
  });
});

describe('a mapped task', () => {
  const one = recorded.executions[0]!.before;
  const feed = (type: string, task: string, more: object = {}): FeedEvent =>
    ({ seq: ++seq, at: '2026-01-01T00:00:00Z', type, execution: one.execution.id, job: one.execution.job, task, attempt: 1, ...more }) as FeedEvent;
  let seq = one.seq + 1_000_000;
  const mapped = one.execution.tasks[0]!.name;

  it('gets its items while it runs, and their results at its end', () => {
    const view = applyToExecution(one, [
      feed('task.started', mapped),
      feed('task.expanded', mapped, { items: ['a', 'b'] }),
      feed('task.started', `${mapped}[1]`),
      feed('task.succeeded', `${mapped}[1]`, { result: 'B' }),
      feed('task.started', `${mapped}[0]`),
      feed('task.failed', `${mapped}[0]`, { error: { type: 'E', message: 'no', traceback: '' } }),
      feed('task.failed', mapped, { reason: 'items failed' }),
    ]);
    const byName = new Map(view.execution.tasks.map((task) => [task.name, task]));
    expect(byName.get(mapped)).toMatchObject({ state: 'failed', items: 2, result: [null, 'B'] });
    expect(byName.get(`${mapped}[0]`)).toMatchObject({ state: 'failed', mappedFrom: mapped, index: 0, item: 'a', attempt: 1 });
    expect(byName.get(`${mapped}[1]`)).toMatchObject({ state: 'successful', result: 'B' });
    expect(view.execution.tasks.length).toBe(one.execution.tasks.length + 2);

    const anew = applyToExecution(view, [feed('execution.reopened', '', { task: undefined, tasks: [mapped] })]);
    const state = (view: Context, name: string) => view.execution.tasks.find((task) => task.name === name)?.state;
    expect(state(anew, `${mapped}[1]`)).toBe('skipped');
    const twice = applyToExecution(anew, [feed('task.started', mapped, { attempt: 2 }), feed('task.expanded', mapped, { items: ['a', 'b', 'c'] })]);
    expect(twice.execution.tasks.map((task) => task.name)).toEqual([...view.execution.tasks.map((task) => task.name), `${mapped}[2]`]);
    expect(state(twice, `${mapped}[1]`)).toBe('notstarted');

    const part = applyToExecution(view, [feed('execution.reopened', '', { task: undefined, tasks: [`${mapped}[0]`] })]);
    expect(state(part, mapped)).toBe('running');
    expect(state(part, `${mapped}[1]`)).toBe('successful');
  });

  it('counts its items once, however often it runs', () => {
    const map = (...items: string[]) => feed('task.expanded', 'map', { items });
    const events = [
      feed('execution.submitted', '', { task: undefined, tasks: ['map', 'end'] }),
      map('a', 'b'),
      ...['map[0]', 'map[1]', 'map', 'end'].map((name) => feed('task.succeeded', name)),
    ];
    const again = [feed('execution.reopened', '', { task: undefined, tasks: ['map', 'end'] }), map('a', 'b', 'c')];
    const shown = (rows: readonly { done: number; total: number }[]) => rows.map(({ done, total }) => [done, total]);
    const jobs = { ...recorded.overview, seq: one.seq, jobs: recorded.overview.jobs.map((line) => ({ ...line, states: '', live: [] })) };
    const bars = (events: FeedEvent[]) => shown(applyToJobs(jobsFrom(jobs, 9), events).jobs.get(one.execution.job)!.bars);
    const rows = (events: FeedEvent[]) => shown(applyToRuns([], events, () => true));
    for (const fold of [bars, rows]) {
      expect(fold(events)).toEqual([[4, 4]]);
      expect(fold([...events, ...again])).toEqual([[0, 5]]);
      expect(fold([...events, feed('execution.reopened', '', { task: undefined, tasks: ['map[1]', 'end'] })])).toEqual([[1, 4]]);
    }
  });

  it('of a run that was run again before it was looked at has no count: it is not known how many items were there', () => {
    const [row] = recorded.rows.runs;
    const about = { execution: row!.id, job: row!.job };
    const again = [feed('execution.reopened', '', { ...about, task: undefined, tasks: ['map'] }), feed('task.expanded', 'map', { ...about, items: [1, 2] })];
    expect(applyToRuns([row!], again, () => true)[0]).toMatchObject({ total: 0, done: 0 });
  });
});

describe('runs', () => {
  it('are what the server says afterwards', () => {
    const rows = applyToRuns([], recorded.events, () => true);
    const known = new Set(rows.map((row) => row.id));
    expect(rows.map(({ reason: _reason, items: _items, ...row }) => row)).toEqual(
      recorded.rows.runs.filter((row) => known.has(row.id)).map(({ reason: _reason, ...row }) => row),
    );
  });
});

describe('frames', () => {
  it('are read with their position; comments say how far', () => {
    const text = ':\nid: 7\nretry: 1000\n\nid: 8\nevent: task.started\ndata: {"seq":8,\ndata: "type":"task.started","at":""}';
    expect(parseFrames(text)).toEqual({ events: [{ seq: 8, type: 'task.started', at: '' }], position: 8 });
    expect(parseFrames(':')).toEqual({ events: [], position: 0 });
  });
});
