/** What a list of jobs is asked: which to show, in which order, and what the numbers on top say. Pure. */

import type { JobState } from '../store';
import { median } from './duration';
import { words } from './cron';
import { isFinal, STATES, worst, type State } from './states';
import { parse } from './time';

export type Filter = 'all' | 'failing' | 'active' | 'retrying' | 'paused' | 'late';

export const FILTERS: { name: Filter; word: string; state?: State }[] = [
  { name: 'all', word: 'All' },
  { name: 'failing', word: 'Failing', state: 'failed' },
  { name: 'active', word: 'Active', state: 'running' },
  { name: 'retrying', word: 'Retrying', state: 'upforretry' },
  { name: 'paused', word: 'Paused' },
  { name: 'late', word: 'Late' },
];

/** The state of its last run that ended; undefined if none did. */
export const lastEnded = (job: JobState): State | undefined => job.bars.findLast((bar) => isFinal(bar.state))?.state;

export const isActive = (job: JobState): boolean => job.bars.some((bar) => !isFinal(bar.state));

export function fits(job: JobState, filter: Filter): boolean {
  switch (filter) {
    case 'all':
      return true;
    case 'failing':
      return lastEnded(job) === 'failed';
    case 'active':
      return isActive(job);
    case 'retrying':
      return job.bars.some((bar) => bar.state === 'upforretry');
    case 'paused':
      return Boolean(job.schedule) && !job.active;
    case 'late':
      return job.late;
  }
}

/** The state a row is headed by: what goes on, else how the last run ended. */
export function headState(job: JobState): State | undefined {
  const open = job.bars.findLast((bar) => !isFinal(bar.state));
  return open?.state ?? lastEnded(job);
}

export const usual = (job: JobState): number | null =>
  median(job.bars.flatMap((bar) => (bar.took != null && bar.state === 'successful' ? [bar.took] : []))) ??
  median(job.bars.flatMap((bar) => (bar.took != null ? [bar.took] : [])));

export function matches(job: JobState, text: string): boolean {
  if (!text) return true;
  const hay = `${job.name}\n${job.tags.join('\n')}\n${job.schedule}\n${words(job.schedule)}\n${job.owner}\n${job.description}`;
  return text.toLowerCase().split(/\s+/).every((word) => hay.toLowerCase().includes(word));
}

export const SORTS = ['attention', 'name', 'next', 'last', 'duration', 'failures'] as const;
export type Sort = (typeof SORTS)[number];
export const SORT_WORD: Record<Sort, string> = {
  attention: 'Attention first',
  name: 'Name',
  next: 'Next run',
  last: 'Last run',
  duration: 'Duration',
  failures: 'Failure rate',
};

function attention(job: JobState): number {
  if (fits(job, 'failing')) return 0;
  if (fits(job, 'retrying')) return 1;
  if (isActive(job)) return 2;
  if (job.late) return 3;
  return 4;
}

const nextOf = (job: JobState): number => (job.active ? (parse(job.next) ?? Infinity) : Infinity);
const lastOf = (job: JobState): number => job.bars.at(-1)?.submitted ?? 0;
const rate = (job: JobState): number =>
  job.bars.length ? job.bars.filter((bar) => bar.state === 'failed').length / job.bars.length : 0;

/** The names in order; ties keep the order of registration. */
export function sorted(jobs: readonly JobState[], sort: Sort): string[] {
  const key: Record<Sort, (a: JobState, b: JobState) => number> = {
    attention: (a, b) => attention(a) - attention(b) || compare(nextOf(a), nextOf(b)),
    name: (a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }),
    next: (a, b) => compare(nextOf(a), nextOf(b)),
    last: (a, b) => compare(lastOf(b), lastOf(a)),
    duration: (a, b) => compare(usual(b) ?? -1, usual(a) ?? -1),
    failures: (a, b) => rate(b) - rate(a),
  };
  return jobs.toSorted(key[sort]).map((job) => job.name);
}

const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

export interface Counts {
  failing: number;
  active: number;
  next: { job: string; at: number } | null;
  soon: number;
}

/** The numbers on top, but for those of a day, which the server counts. */
export function count(jobs: Iterable<JobState>, now: number): Counts {
  const counts: Counts = { failing: 0, active: 0, next: null, soon: 0 };
  for (const job of jobs) {
    if (fits(job, 'failing')) counts.failing++;
    for (const bar of job.bars) if (!isFinal(bar.state)) counts.active++;
    const at = nextOf(job);
    if (at < Infinity) {
      if (at - now < 3_600_000) counts.soon++;
      if (at > now - 1000 && (!counts.next || at < counts.next.at)) counts.next = { job: job.name, at };
    }
  }
  return counts;
}

/** The share that went well of the runs that ended, in words, and how many those were. */
export function success(counts: Partial<Record<State, number>>): { share: string; ended: number } {
  const ended = ENDED.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  const good = counts.successful ?? 0;
  return { share: ended ? `${((100 * good) / ended).toFixed(good === ended ? 0 : 1)} %` : '–', ended };
}

/** The states of runs that `success` counts. */
export const ENDED = STATES.filter(isFinal);

export const GROUPINGS = ['none', 'tag', 'prefix'] as const;
export type Grouping = (typeof GROUPINGS)[number];
export const GROUPING_WORD: Record<Grouping, string> = { none: 'No groups', tag: 'By tag', prefix: 'By prefix' };

/** A row of the list: a job, or the head of a group. */
export type ListRow = { job: JobState } | { group: string; jobs: JobState[]; state: State | undefined; closed: boolean };

/** What a job is grouped by: its first tag, or what its name has before a slash. Empty: it is in no group. */
const groupOf = (job: JobState, by: Grouping): string =>
  by === 'tag' ? (job.tags[0] ?? '') : by === 'prefix' && job.name.includes('/') ? job.name.slice(0, job.name.indexOf('/') + 1) : '';

/** Jobs under the heads of their groups, each at the place of its first job; closed ones have their head only. */
export function grouped(jobs: readonly JobState[], by: Grouping, closed: ReadonlySet<string>): ListRow[] {
  if (by === 'none') return jobs.map((job) => ({ job }));
  const groups = new Map<string, JobState[]>();
  for (const job of jobs) {
    const group = groupOf(job, by);
    const members = groups.get(group);
    if (members) members.push(job);
    else groups.set(group, [job]);
  }
  const others = groups.get('');
  if (others && groups.delete('')) groups.set('', others); // they come last
  return [...groups].flatMap(([group, jobs]): ListRow[] => {
    const states = jobs.flatMap((job) => headState(job) ?? []);
    const isClosed = closed.has(group);
    return [{ group, jobs, state: states.length ? worst(states) : undefined, closed: isClosed }, ...(isClosed ? [] : jobs.map((job) => ({ job })))];
  });
}
