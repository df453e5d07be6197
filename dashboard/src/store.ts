/**
 * What a page shows as a fold of events over a snapshot: pure functions, guarded by `seq`, so that an event told
 * twice, or a replay that overlaps the snapshot, changes nothing.
 */

import { jobLine, type Attempt, type Context, type Execution, type Failure, type Fault, type FeedEvent, type JobLine, type Overview, type RunRow, type TaskRun } from './api';
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
    return { ...job, late: false, failure: null, bars: [...job.bars, bar].slice(-kept) };
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

function firstFailure(known: Failure | null, event: FeedEvent): Failure {
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

interface Progress {
  done: number;
  total: number;
  items?: Readonly<Record<string, number>> | null;
}

/** A map has its items: those it had in an earlier run of this execution begin anew and are not counted again. */
function expanded({ done, total, items = {} }: Progress, event: FeedEvent): Progress {
  const now = (event.items as unknown[] | undefined)?.length ?? 0;
  const before = items ? (items[event.task!] ?? 0) : null;
  if (before == null || !total) return { done: 0, total: 0, items };
  return { done: done - Math.min(now, before), total: total + Math.max(0, now - before), items: { ...items, [event.task!]: Math.max(now, before) } };
}

/** Tasks begin anew, and with items of a map that map. Whether it had items before it was looked at is not known. */
function reopened({ done, total, items }: Progress, event: FeedEvent): Progress {
  const names = new Set(event.tasks as string[] | undefined);
  const maps = new Set([...names].map(mapOf).filter((name) => name && !names.has(name)));
  return { done: total ? Math.max(0, total - names.size - maps.size) : done, total, items: items ?? null };
}

const mapOf = (name: string): string => /^(.+)\[\d+\]$/s.exec(name)?.[1] ?? '';

/** Output and progress: told while they happen, with the position they came after, and never again. */
export const isLive = (event: FeedEvent): boolean => event.type === 'task.output' || event.type === 'task.progress';

/** Fold events into one execution. */
export function applyToExecution(view: Context, events: readonly FeedEvent[]): Context {
  let { execution, seq } = view;
  for (const event of events) {
    if (event.seq <= seq || event.execution !== execution.id || isLive(event)) continue;
    seq = event.seq;
    execution = step(execution, event);
  }
  return seq === view.seq ? view : { ...view, execution, seq };
}

function step(execution: Execution, event: FeedEvent): Execution {
  const text = String(event.reason ?? '');
  switch (event.type) {
    case 'execution.started':
      return { ...execution, state: 'running', started: event.at };
    case 'execution.cancelling':
      return { ...execution, reason: text };
    case 'execution.finished':
      return { ...execution, state: event.state as State, finished: event.at, reason: text };
    case 'execution.reopened':
      return reopen(execution, event, new Set(event.tasks as string[] | undefined));
  }
  if (!event.task) return execution;
  if (event.type === 'task.expanded') return expand(execution, event.task, (event.items as unknown[] | undefined) ?? []);
  const tasks = execution.tasks.map((task) => (task.name === event.task ? stepTask(task, event) : task));
  const place = tasks.findIndex((task) => task.name === event.task && task.items != null && task.finished != null);
  if (place >= 0) tasks[place] = { ...tasks[place]!, result: resultsOfItems(tasks, event.task) };
  return { ...execution, tasks };
}

/** The result of a mapped task is the list of those of its items. */
function resultsOfItems(tasks: readonly TaskRun[], mapped: string): unknown[] {
  const results: unknown[] = [];
  for (const task of tasks) if (task.mappedFrom === mapped && task.index != null) results[task.index] = task.result;
  return results;
}

/** It runs once more: some tasks begin anew, the others stay as they ended. */
function reopen(execution: Execution, event: FeedEvent, names: ReadonlySet<string>): Execution {
  const maps = new Set(execution.tasks.flatMap((task) => (task.mappedFrom && names.has(task.name) ? [task.mappedFrom] : [])));
  return {
    ...execution,
    state: 'notstarted',
    started: null,
    finished: null,
    reason: '',
    reopenings: [...execution.reopenings, { at: event.at, by: String(event.by ?? ''), reason: String(event.reason ?? ''), tasks: [...names] }],
    tasks: execution.tasks.map((task) => {
      if (names.has(task.name)) return anew(task);
      if (names.has(task.mappedFrom ?? '')) return { ...anew(task), state: 'skipped', reason: 'its map begins anew' };
      return maps.has(task.name) ? goesOn(task) : task;
    }),
  };
}

const anew = (task: TaskRun): TaskRun => ({
  ...task, state: 'notstarted', result: null, reason: '', retryAt: null, finished: null, error: null, waiting: '', items: null,
});

/** A map whose items begin anew is not over any more. */
function goesOn(task: TaskRun): TaskRun {
  if (task.items == null || !isFinal(task.state)) return task;
  const last: Attempt = { ...task.attempts.at(-1)!, state: 'running', finished: null, error: null, reason: '' };
  return { ...task, state: 'running', result: null, finished: null, reason: '', error: null, attempts: task.attempts.with(-1, last) };
}

/** The items of a mapped task are known: each is a task of its own now; one that ran before begins anew. */
function expand(execution: Execution, mapped: string, items: readonly unknown[]): Execution {
  const known = new Map(execution.tasks.map((task) => [task.name, task.name === mapped ? { ...task, items: items.length } : task]));
  items.forEach((item, index) => {
    const name = `${mapped}[${index}]`;
    const before = known.get(name) ?? { name, attempt: 0, started: null, attempts: [], mappedFrom: mapped, index };
    known.set(name, { ...anew(before as TaskRun), item });
  });
  return { ...execution, tasks: [...known.values()] };
}

function stepTask(task: TaskRun, event: FeedEvent): TaskRun {
  const reason = String(event.reason ?? '');
  const error = (event.error as Fault | null | undefined) ?? null;
  switch (event.type) {
    case 'task.started': {
      const attempt: Attempt = {
        number: event.attempt ?? task.attempts.length + 1,
        state: 'running',
        started: event.at,
        finished: null,
        error: null,
        reason: '',
        child: String(event.child ?? ''),
      };
      const attempts = [...task.attempts, attempt];
      const started = task.started ?? event.at;
      return { ...task, state: 'running', attempts, attempt: attempts.length, started, retryAt: null, reason, waiting: String(event.waiting ?? ''), error: null };
    }
    case 'task.succeeded':
      return { ...end(task, event, 'successful', null, ''), result: event.result ?? null };
    case 'task.failed':
      return end(task, event, 'failed', error, reason);
    case 'task.skipped':
      return end(task, event, 'skipped', null, reason);
    case 'task.cancelled':
      return end(task, event, 'cancelled', null, reason);
    case 'task.retry_scheduled':
      return {
        ...endAttempt(task, event, 'failed', error, reason),
        state: 'upforretry',
        reason,
        waiting: '',
        retryAt: (event.retry_at as string | null) ?? null,
      };
    default:
      return task;
  }
}

function end(task: TaskRun, event: FeedEvent, state: State, error: Fault | null, reason: string): TaskRun {
  return { ...endAttempt(task, event, state, error, reason), state, reason, retryAt: null, finished: event.at, waiting: '' };
}

function endAttempt(task: TaskRun, event: FeedEvent, state: State, error: Fault | null, reason: string): TaskRun {
  const last = task.attempts.at(-1);
  if (!last || last.finished) return task;
  const ended: Attempt = { ...last, state, finished: event.at, error, reason };
  return { ...task, attempts: [...task.attempts.slice(0, -1), ended], error };
}

/** Fold events into a list of runs, newest first: those it shows change, new ones go on top if they are wanted. */
export function applyToRuns(
  rows: readonly RunRow[],
  events: readonly FeedEvent[],
  wanted: (event: FeedEvent) => boolean,
): readonly RunRow[] {
  let changed = rows;
  for (const event of events) {
    if (!event.execution || isLive(event)) continue;
    const place = changed.findIndex((row) => row.id === event.execution);
    if (place >= 0) {
      const row = stepRow(changed[place]!, event);
      if (row !== changed[place]) changed = changed.with(place, row);
    } else if (event.type === 'execution.submitted' && wanted(event)) {
      changed = [submittedRow(event), ...changed];
    }
  }
  return changed;
}

function submittedRow(event: FeedEvent): RunRow {
  return {
    id: event.execution!,
    job: event.job ?? '',
    state: 'notstarted',
    submitted: event.at,
    started: null,
    finished: null,
    trigger: String(event.trigger ?? 'manual'),
    scheduledFor: (event.scheduled_for as string | null) ?? null,
    reason: '',
    attempts: 0,
    done: 0,
    total: (event.tasks as string[] | undefined)?.length ?? 0,
    failure: null,
    items: {},
  };
}

function stepRow(row: RunRow, event: FeedEvent): RunRow {
  if (event.type === 'execution.reopened') {
    return { ...row, state: 'notstarted', started: null, finished: null, reason: '', failure: null, ...reopened(row, event) };
  }
  if (isFinal(row.state)) return row;
  switch (event.type) {
    case 'execution.started':
      return { ...row, state: 'running', started: event.at };
    case 'execution.finished':
      return { ...row, state: event.state as State, finished: event.at, done: row.total, reason: firstLine(String(event.reason ?? '')) };
    case 'task.expanded':
      return { ...row, ...expanded(row, event) };
    case 'task.started':
      return { ...row, attempts: Math.max(row.attempts, event.attempt ?? 1) };
    case 'task.failed':
      return { ...row, done: Math.min(row.total, row.done + 1), failure: firstFailure(row.failure, event) };
    case 'task.succeeded':
    case 'task.skipped':
    case 'task.cancelled':
      return { ...row, done: Math.min(row.total, row.done + 1) };
    default:
      return row;
  }
}
