/** One execution, with its tasks and attempts, as a fold of events over a snapshot; see `store.ts`. */

import type { Attempt, Context, Execution, Fault, FeedEvent, TaskRun } from './api';
import { isFinal, type State } from './model/states';
import { isLive } from './store';

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
