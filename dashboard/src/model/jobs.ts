/** What a list of jobs is asked: which to show, in which order, and what the numbers on top say. Pure. */

import type { Bar, JobState } from '../store';
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

/** What is asked of a job again and again. */
interface Digest {
  /** The state of its last run that ended; undefined if none did. */
  ended: State | undefined;
  /** The newest of its runs that go on, and how many do. */
  newest: Bar | undefined;
  active: number;
  retrying: boolean;
  /** How long its runs take, milliseconds. */
  usual: number | null;
  /** The share that failed. */
  failures: number;
  next: number;
}

const digests = new WeakMap<JobState, Digest>();

/** Found once for each state of a job: one that changes is another object. */
export function digest(job: JobState): Digest {
  let found = digests.get(job);
  if (!found) {
    const { bars } = job;
    const open = bars.filter((bar) => !isFinal(bar.state));
    const lengths = (good: boolean) => bars.flatMap((bar) => (bar.took != null && (!good || bar.state === 'successful') ? [bar.took] : []));
    found = {
      ended: bars.findLast((bar) => isFinal(bar.state))?.state,
      newest: open.at(-1),
      active: open.length,
      retrying: open.some((bar) => bar.state === 'upforretry'),
      usual: median(lengths(true)) ?? median(lengths(false)),
      failures: bars.length ? bars.filter((bar) => bar.state === 'failed').length / bars.length : 0,
      next: job.active ? (parse(job.next) ?? Infinity) : Infinity,
    };
    digests.set(job, found);
  }
  return found;
}

export function fits(job: JobState, filter: Filter): boolean {
  switch (filter) {
    case 'all':
      return true;
    case 'failing':
      return digest(job).ended === 'failed';
    case 'active':
      return digest(job).active > 0;
    case 'retrying':
      return digest(job).retrying;
    case 'paused':
      return Boolean(job.schedule) && !job.active;
    case 'late':
      return job.late;
  }
}

/** The state a row is headed by: what goes on, else how the last run ended. */
export const headState = (job: JobState): State | undefined => digest(job).newest?.state ?? digest(job).ended;

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
  if (fits(job, 'active')) return 2;
  if (job.late) return 3;
  return 4;
}

const lastOf = (job: JobState): number => job.bars.at(-1)?.submitted ?? 0;

/** The names in order; ties keep the order of registration. */
export function sorted(jobs: readonly JobState[], sort: Sort): string[] {
  const key: Record<Sort, (a: JobState, b: JobState) => number> = {
    attention: (a, b) => attention(a) - attention(b) || compare(digest(a).next, digest(b).next),
    name: (a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }),
    next: (a, b) => compare(digest(a).next, digest(b).next),
    last: (a, b) => compare(lastOf(b), lastOf(a)),
    duration: (a, b) => compare(digest(b).usual ?? -1, digest(a).usual ?? -1),
    failures: (a, b) => digest(b).failures - digest(a).failures,
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
    const { active, next: at } = digest(job);
    counts.active += active;
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

const rows = new WeakMap<JobState, ListRow>();

/** The row of a job; the same one for the same state of it, so that it is not drawn anew. */
function rowOf(job: JobState): ListRow {
  const row = rows.get(job) ?? { job };
  rows.set(job, row);
  return row;
}

/** What a job is grouped by: its first tag, or what its name has before a slash. Empty: it is in no group. */
const groupOf = (job: JobState, by: Grouping): string =>
  by === 'tag' ? (job.tags[0] ?? '') : by === 'prefix' && job.name.includes('/') ? job.name.slice(0, job.name.indexOf('/') + 1) : '';

/** Jobs under the heads of their groups, each at the place of its first job; closed ones have their head only. */
export function grouped(jobs: readonly JobState[], by: Grouping, closed: ReadonlySet<string>): ListRow[] {
  if (by === 'none') return jobs.map(rowOf);
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
    return [{ group, jobs, state: states.length ? worst(states) : undefined, closed: isClosed }, ...(isClosed ? [] : jobs.map(rowOf))];
  });
}
