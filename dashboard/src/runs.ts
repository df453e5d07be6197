/** A list of runs as a fold of events over a snapshot; see `store.ts`. */

import type { FeedEvent, RunRow } from './api';
import { isFinal, type State } from './model/states';
import { expanded, firstFailure, firstLine, isLive, reopened } from './store';

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
    reopened: 0,
    done: 0,
    total: (event.tasks as string[] | undefined)?.length ?? 0,
    failure: null,
    items: {},
  };
}

function stepRow(row: RunRow, event: FeedEvent): RunRow {
  if (event.type === 'execution.reopened') {
    return { ...row, state: 'notstarted', started: null, finished: null, reason: '', failure: null, reopened: row.reopened + 1, ...reopened(row, event) };
  }
  if (isFinal(row.state)) return row;
  switch (event.type) {
    case 'execution.started':
      return { ...row, state: 'running', started: event.at };
    case 'execution.finished':
      return { ...row, state: event.state as State, finished: event.at, done: row.total, reason: firstLine(String(event.reason ?? '')) };
    case 'task.expanded':
      return { ...row, ...expanded({ ...row, items: row.items === undefined && row.reopened ? null : row.items }, event) };
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
