/** An execution on a time axis: one row a task, its attempts as segments, the waits between them. */

import type { Execution, TaskRun } from '../api';
import type { State } from '../model/states';
import { parse } from '../model/time';

export interface Segment {
  from: number;
  to: number;
  state: State;
  attempt: number;
}

export interface Row {
  name: string;
  state: State;
  segments: Segment[];
  /** Dotted pieces: from the end of an attempt to the start of the next. */
  waits: [number, number][];
  /** When the task could have started: the end of its last upstream. */
  ready: number | null;
  start: number | null;
  end: number | null;
  /** Whether it ended in an earlier run of this execution, and its result was kept. */
  kept: boolean;
}

export interface Gantt {
  rows: Row[];
  from: number;
  to: number;
}

/** Rows in the order they started; what never ran comes last, in the job's order. */
export function gantt(execution: Execution, graph: Record<string, readonly string[]>, now: number): Gantt {
  const from = parse(execution.started) ?? parse(execution.submitted) ?? now;
  const end = parse(execution.finished);
  const ends = new Map(execution.tasks.map((task) => [task.name, parse(task.finished)]));
  const ups = new Map<string, string[]>();
  for (const [name, downs] of Object.entries(graph)) for (const to of downs) ups.set(to, [...(ups.get(to) ?? []), name]);
  const rows = execution.tasks.map((task) => row(task, from, now, ups.get(task.name) ?? [], ends));
  let to = end ?? now;
  for (const { end: last } of rows) if (last != null) to = Math.max(to, last);
  const order = rows.map((one, place) => ({ one, place }));
  order.sort((a, b) => (a.one.start ?? Infinity) - (b.one.start ?? Infinity) || a.place - b.place);
  return { rows: order.map(({ one }) => one), from, to: Math.max(to, from + 1) };
}

function row(task: TaskRun, from: number, now: number, ups: string[], ends: Map<string, number | null>): Row {
  // An execution that runs again has an axis of its own: what ended before is not on it.
  const attempts = task.attempts.filter((attempt) => (parse(attempt.finished) ?? now) >= from);
  const segments = attempts.map((attempt): Segment => {
    const start = parse(attempt.started) ?? from;
    return { from: start, to: Math.max(start, parse(attempt.finished) ?? now), state: attempt.state, attempt: attempt.number };
  });
  const kept = !segments.length && task.attempts.length > 0 && task.finished != null;
  const waits: [number, number][] = [];
  segments.forEach((segment, place) => {
    const next = segments[place + 1];
    if (next && next.from > segment.to) waits.push([segment.to, next.from]);
  });
  const last = segments.at(-1);
  const retryAt = parse(task.retryAt);
  if (last && retryAt && task.state === 'upforretry') waits.push([last.to, Math.max(retryAt, last.to)]);
  let ready: number | null = from;
  for (const up of ups) {
    const ended = ends.get(up);
    ready = ready == null || ended == null ? null : Math.max(ready, ended);
  }
  return {
    name: task.name,
    state: task.state,
    segments,
    waits,
    ready,
    start: segments[0]?.from ?? (kept ? null : parse(task.finished)),
    end: last?.to ?? parse(task.finished),
    kept,
  };
}

/** Long waits in which nothing ran: each is more than a third of the whole. */
export function idle({ rows, from, to }: Gantt): [number, number][] {
  const gaps: [number, number][] = [];
  let end = from;
  for (const busy of [...rows.flatMap((one) => one.segments).sort((a, b) => a.from - b.from), { from: to, to }]) {
    if (busy.from - end > (to - from) / 3) gaps.push([end, busy.from]);
    end = Math.max(end, busy.to);
  }
  return gaps;
}

/** Where an instant is on an axis on which some gaps have only a length each. */
export const folded = (at: number, gaps: readonly [number, number][], length: number): number =>
  gaps.reduce((place, [from, to]) => place - Math.max(0, Math.min(at, to) - from) * (1 - length / (to - from)), at);

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 180_000, 300_000, 600_000,
  900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 43_200_000, 86_400_000, 604_800_000,
];

/** Round times for an axis of so many milliseconds, at most so many of them. */
export function axisTicks(span: number, most: number): number[] {
  const step = STEPS.find((one) => span / one <= most) ?? span;
  const ticks: number[] = [];
  for (let at = 0; at <= span + 0.5; at += step) ticks.push(at);
  return ticks;
}

/** The chain of tasks that decided how long the execution took, last first, and its length. */
export function criticalPath(rows: readonly Row[], graph: Record<string, readonly string[]>): { tasks: string[]; length: number } {
  const byName = new Map(rows.map((one) => [one.name, one]));
  const ups = new Map<string, string[]>();
  for (const [name, downs] of Object.entries(graph)) for (const to of downs) ups.set(to, [...(ups.get(to) ?? []), name]);
  let at: Row | undefined;
  for (const one of rows) if (one.segments.length && one.end != null && (!at || one.end > at.end!)) at = one;
  const tasks: string[] = [];
  let length = 0;
  while (at && !tasks.includes(at.name)) {
    tasks.push(at.name);
    if (at.segments.length) length += (at.end ?? 0) - (at.start ?? 0);
    let before: Row | undefined;
    for (const name of ups.get(at.name) ?? []) {
      const one = byName.get(name);
      if (one?.end != null && (!before || one.end > before.end!)) before = one;
    }
    at = before;
  }
  return { tasks, length };
}
