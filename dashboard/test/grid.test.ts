/** What stands below the bars: how runs came about, and where instants are missing. */
import { describe, expect, it } from 'vitest';
import { mark, missesBefore } from '../src/draw/grid';
import type { FeedEvent, Overview } from '../src/api';
import { applyToJobs, jobsFrom } from '../src/store';

const begun = (trigger: string, submitted = '2026-03-01T03:00:01Z', reopened = 0) =>
  ({ trigger, submitted, reopened, scheduledFor: trigger === 'schedule' ? '2026-03-01T03:00:00Z' : null });

describe('marks', () => {
  it.each([
    [begun('schedule'), undefined], [begun('manual'), 'manual'], [begun('backfill'), 'backfill'],
    [begun('schedule', '2026-03-01T03:10:00Z'), 'caught up 10m 00s after its instant'],
    [begun('schedule', undefined, 1), 'run again'], [begun('manual', undefined, 3), 'run again 3 times'],
  ])('of %o is %s', (run, says) => expect(mark(run)?.says).toBe(says));
});

describe('missed instants', () => {
  const miss = (hour: number, count = 1) => ({ last: `2026-03-01T${String(hour).padStart(2, '0')}:30:00Z`, count, reason: 'why' });
  const runs = [4, 6, 8].map((hour) => Date.parse(`2026-03-01T0${hour}:00:00Z`));

  it('stand before the run that came next, and are added up; those before all runs are left out', () => {
    const found = missesBefore(runs, [miss(3), miss(4), miss(5, 2), miss(9)]);
    expect([...found]).toEqual([[1, { count: 3, says: '3 missed: why' }], [3, { count: 1, says: '1 missed: why' }]]);
    expect([...missesBefore([], [miss(3)])]).toEqual([[0, { count: 1, says: '1 missed: why' }]]);
  });

  it('come live, and move with the bars', () => {
    let seq = 1;
    const tell = (type: string, more: object = {}) => ({ seq: ++seq, at: '2026-03-01T00:00:00Z', type, job: 'j', ...more }) as FeedEvent;
    const answer = { seq: 1, jobs: [{ name: 'j', active: true, states: 'ss', took: '    ', missed: [[1, 4]] }] } as unknown as Overview;
    const shown = (...events: FeedEvent[]) => applyToJobs(jobsFrom(answer, 3), events).jobs.get('j')!.missed;
    const run = () => tell('execution.submitted', { execution: `e${seq}`, tasks: ['t'] });
    const missed = () => tell('schedule.missed', { count: 2 });
    expect(shown(missed(), missed())).toEqual([[1, 4], [2, 4]]);
    expect(shown(missed(), run())).toEqual([[1, 4], [2, 2]]);
    expect(shown(run(), missed(), run())).toEqual([[2, 2]]);
  });
});
