/**
 * What a page shows as a fold of events over a snapshot: pure functions, guarded by `seq`, so that an event told
 * twice, or a replay that overlaps the snapshot, changes nothing. Here are jobs, and what all folds share; an execution
 * is in `execution.ts`, a list of runs in `runs.ts`.
 */

import { jobLine, type Failure, type Fault, type FeedEvent, type JobLine, type Overview } from './api';
import { decodeTook } from './model/duration';
import { decode, isFinal, type State } from './model/states';
import { parse, timeOf } from './model/time';

/** One bar of a strip. `id` is unknown for older runs: the compact answer leaves it out. */
export interface Bar {
  id: string | null;
  state: State;
  submitted: number | null;
  started: number | null;
  took: number | null;
  retrying: ReadonlySet<string>;
  done: number;
  /** 0 where it is not known. */
  total: number;
  /** How many items each map was seen to have; null where some may have been missed: the run was run again before. */
  items?: Readonly<Record<string, number>> | null;
}

export interface JobState extends Omit<JobLine, 'states' | 'took' | 'live' | 'last'> {
  bars: readonly Bar[];
}

export interface JobsState {
  seq: number;
  kept: number;
  jobs: ReadonlyMap<string, JobState>;
}

const NONE: ReadonlySet<string> = new Set();

/** The fold's start: a snapshot. */
export function jobsFrom(answer: Overview, kept: number): JobsState {
  return { seq: answer.seq, kept, jobs: new Map(answer.jobs.map((line) => [line.name, jobFrom(jobLine(line))])) };
}

function jobFrom({ states, took, live, last, ...rest }: JobLine): JobState {
  const waiting = live.slice();
  const bars = Array.from(states, (letter, index): Bar => {
    const state = decode(letter) ?? 'notstarted';
    const id = index === states.length - 1 ? last : null;
    const bar: Bar = {
      id,
      state,
      submitted: id == null ? null : timeOf(id),
      started: null,
      took: decodeTook(took, index),
      retrying: NONE,
      done: 0,
      total: 0,
    };
    const run = isFinal(state) ? undefined : waiting.shift();
    if (!run) return bar;
    return {
      ...bar,
      id: run.id,
      submitted: parse(run.submitted),
      started: parse(run.started),
      retrying: new Set(run.retrying),
      done: run.done,
      total: run.total,
    };
  });
  return { ...rest, bars };
}

/** Fold events into the jobs. */
export function applyToJobs(state: JobsState, events: readonly FeedEvent[]): JobsState {
  const fresh = events.filter((event) => event.seq > state.seq && !isLive(event));
  if (!fresh.length) return state;
  const jobs = new Map(state.jobs);
  for (const event of fresh) {
    const job = event.job ? jobs.get(event.job) : undefined;
    if (job) jobs.set(job.name, applyToJob(job, event, state.kept));
  }
  return { ...state, seq: fresh[fresh.length - 1]!.seq, jobs };
}

function applyToJob(job: JobState, event: FeedEvent, kept: number): JobState {
  if (event.type === 'schedule.toggled') {
    return { ...job, active: Boolean(event.active), paused_until: (event.until as string | null) ?? null, late: false };
  }
  if (event.type === 'schedule.missed') {
    const [last, rest] = [job.missed.at(-1), job.missed.slice(0, -1)];
    const count = Number(event.count ?? 1);
    const here = job.bars.length;
    return { ...job, late: false, missed: last?.[0] === here ? [...rest, [here, last[1] + count]] : [...job.missed, [here, count]] };
  }
  if (!event.execution) return job;
  if (event.type === 'execution.submitted') {
    if (job.bars.some((bar) => bar.id === event.execution)) return job;
    const bar: Bar = {
      id: event.execution,
      state: 'notstarted',
      submitted: parse(event.at),
      started: null,
      took: null,
      retrying: NONE,
      done: 0,
      total: (event.tasks as string[] | undefined)?.length ?? 0,
      items: {},
    };
    const gone = Math.max(0, job.bars.length + 1 - kept);
    const missed = gone ? job.missed.flatMap(([place, count]): [number, number][] => (place > gone ? [[place - gone, count]] : [])) : job.missed;
    return { ...job, late: false, failure: null, missed, bars: [...job.bars, bar].slice(-kept) };
  }
  const place = job.bars.findLastIndex((bar) => bar.id === event.execution);
  if (place < 0) return job;
  const bars = job.bars.slice();
  bars[place] = applyToBar(bars[place]!, event);
  const failure = place === bars.length - 1 ? failureAfter(job.failure, event) : job.failure;
  return { ...job, bars, failure };
}

/** Why the newest run failed, after one more event of it. */
function failureAfter(known: Failure | null, event: FeedEvent): Failure | null {
  if (event.type === 'task.failed') return firstFailure(known, event);
  if (event.type === 'execution.reopened') return null;
  if (event.type === 'execution.finished' && event.state === 'failed' && !known) {
    return { id: event.execution!, task: '', type: '', message: firstLine(String(event.reason ?? '')) };
  }
  return known;
}

export function firstFailure(known: Failure | null, event: FeedEvent): Failure {
  if (known && known.id === event.execution && known.task) return known;
  const error = event.error as Fault | null | undefined;
  const text = error?.message || String(event.reason ?? '');
  return { id: event.execution!, task: event.task ?? '', type: error?.type ?? '', message: firstLine(text) };
}

export const firstLine = (text: string): string => {
  const line = text.split(/\r?\n/).find((one) => one.trim())?.trim() ?? '';
  return line.length <= 300 ? line : line.slice(0, 299) + '…';
};

function applyToBar(bar: Bar, event: FeedEvent): Bar {
  const at = parse(event.at);
  switch (event.type) {
    case 'execution.started':
      return { ...bar, state: 'running', started: at };
    case 'execution.reopened':
      return {
        ...bar,
        state: 'notstarted',
        started: null,
        took: null,
        retrying: NONE,
        ...reopened(bar, event),
      };
    case 'execution.finished':
      return {
        ...bar,
        state: event.state as State,
        took: bar.started == null || at == null ? null : at - bar.started,
        retrying: NONE,
        done: bar.total,
      };
    case 'task.expanded':
      return { ...bar, ...expanded(bar, event) };
    case 'task.retry_scheduled':
      return { ...bar, state: 'upforretry', retrying: new Set([...bar.retrying, event.task!]) };
    case 'task.started':
    case 'task.succeeded':
    case 'task.failed':
    case 'task.skipped':
    case 'task.cancelled': {
      const retrying = bar.retrying.has(event.task!)
        ? new Set([...bar.retrying].filter((task) => task !== event.task))
        : bar.retrying;
      const done = Math.min(bar.total, bar.done + (event.type === 'task.started' ? 0 : 1));
      const state = bar.state === 'upforretry' && !retrying.size ? 'running' : bar.state;
      return { ...bar, state, retrying, done };
    }
    default:
      return bar;
  }
}

export interface Progress {
  done: number;
  total: number;
  items?: Readonly<Record<string, number>> | null;
}

/** A map has its items: those it had in an earlier run of this execution begin anew and are not counted again. */
export function expanded({ done, total, items = {} }: Progress, event: FeedEvent): Progress {
  const now = (event.items as unknown[] | undefined)?.length ?? 0;
  const before = items ? (items[event.task!] ?? 0) : null;
  if (before == null || !total) return { done: 0, total: 0, items };
  return { done: done - Math.min(now, before), total: total + Math.max(0, now - before), items: { ...items, [event.task!]: Math.max(now, before) } };
}

/** Tasks begin anew, and with items of a map that map. Whether it had items before it was looked at is not known. */
export function reopened({ done, total, items }: Progress, event: FeedEvent): Progress {
  const names = new Set(event.tasks as string[] | undefined);
  const maps = new Set([...names].map(mapOf).filter((name) => name && !names.has(name)));
  return { done: total ? Math.max(0, total - names.size - maps.size) : done, total, items: items ?? null };
}

const mapOf = (name: string): string => /^(.+)\[\d+\]$/s.exec(name)?.[1] ?? '';

/** Output and progress: told while they happen, with the position they came after, and never again. */
export const isLive = (event: FeedEvent): boolean => event.type === 'task.output' || event.type === 'task.progress';
