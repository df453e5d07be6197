/** The server's answers, their types, and the one place that asks for them. Addresses are relative to `<base>`. */

import type { State } from './model/states';

export interface Stamp {
  seq: number;
  server_time: string;
  build: string;
  started: string;
}

export interface Failure {
  id: string;
  task: string;
  type: string;
  message: string;
}

export interface LiveRun {
  id: string;
  submitted: string;
  started: string | null;
  retrying: string[];
  done: number;
  total: number;
}

/** A job in the overview, with what the answer leaves out where it has its default. */
export interface JobLine {
  name: string;
  description: string;
  owner: string;
  tags: string[];
  schedule: string;
  timezone: string;
  active: boolean;
  paused_until: string | null;
  late: boolean;
  next: string | null;
  params: number;
  states: string;
  took: string;
  last: string | null;
  failure: Failure | null;
  live: LiveRun[];
  /** Before which run how many instants were missed. */
  missed: [number, number][];
}

type Needed = 'name' | 'active' | 'states' | 'took';
type ShortLine = Pick<JobLine, Needed> & Partial<JobLine>;

const DEFAULTS = {
  description: '',
  owner: '',
  tags: [],
  schedule: '',
  timezone: 'UTC',
  paused_until: null,
  late: false,
  next: null,
  params: 0,
  last: null,
  failure: null,
  live: [],
  missed: [],
};

/** A job of the overview with all its fields. */
export const jobLine = (line: ShortLine): JobLine => ({ ...DEFAULTS, ...line });

export interface Overview extends Stamp {
  problem: string | null;
  jobs: ShortLine[];
}

export interface RunRow {
  id: string;
  job: string;
  state: State;
  submitted: string;
  started: string | null;
  finished: string | null;
  trigger: string;
  scheduledFor: string | null;
  reason: string;
  attempts: number;
  reopened: number;
  done: number;
  /** 0 where it is not known. */
  total: number;
  failure: Failure | null;
  /** See `Bar.items` of the store. */
  items?: Readonly<Record<string, number>> | null;
}

export interface Runs extends Stamp {
  runs: RunRow[];
  next: string | null;
  counts: Partial<Record<State, number>>;
  scanned: number;
  complete: boolean;
  /** Of all jobs. */
  tags: string[];
}

export interface TaskDefinition {
  operator: string;
  retries: number;
  retry_delay: string;
  trigger_rule: string;
  timeout: number | null;
  idempotent: boolean;
  priority: number;
}

export interface TaskLine {
  name: string;
  successful: number;
  failed: number;
  retries: number;
  median: number | null;
  longest: number | null;
  definition: TaskDefinition | null;
}

export type Graph = Record<string, string[]>;

export interface JobDefinition {
  schedule: string;
  active: boolean;
  timezone: string;
  description: string;
  owner: string;
  tags: string[];
  params: Record<string, unknown>;
  next: string[];
  overlap: string;
  misfire: string;
  dst: string;
  timeout: number | null;
  max_active_executions: number | null;
  max_active_tasks: number | null;
}

export interface Grid extends Stamp {
  job: string;
  registered: boolean;
  definition: JobDefinition | null;
  tasks: TaskLine[];
  dag: Graph;
  groups: Graph;
  runs: (RunRow & { cells: string })[];
  missed: { first: string; last: string; count: number; cause: string; reason: string }[];
}

export interface Fault {
  type: string;
  message: string;
  traceback: string;
}

export interface Attempt {
  number: number;
  state: State;
  started: string;
  finished: string | null;
  error: Fault | null;
  reason: string;
  /** The execution that it ran and waited for, or empty. */
  child?: string;
}

export interface TaskRun {
  name: string;
  state: State;
  attempt: number;
  started: string | null;
  finished: string | null;
  retryAt: string | null;
  result: unknown;
  error: Fault | null;
  reason: string;
  attempts: Attempt[];
  /** What its attempt waits for without holding a slot: `sleep`, `condition`, `approval`, `job`; empty if nothing. */
  waiting: string;
  /** Of a mapped task, how many items it has, once that is known; of an item, whose it is, and which. */
  items?: number | null;
  mappedFrom?: string;
  index?: number | null;
  item?: unknown;
}

export interface Execution {
  id: string;
  job: string;
  submitted: string;
  state: State;
  trigger: string;
  scheduledFor: string | null;
  started: string | null;
  finished: string | null;
  reason: string;
  /** The execution that began it; empty if none. */
  parent?: string;
  params: Record<string, unknown>;
  tasks: TaskRun[];
  reopenings: { at: string; by: string; reason: string; tasks: string[] }[];
}

export interface Context extends Stamp {
  execution: Execution;
  registered: boolean;
  dag: Graph;
  groups: Graph;
  definitions: Record<string, TaskDefinition>;
  defaults: Record<string, unknown>;
  timezone: string;
  previous: string | null;
  next: string | null;
  median: number | null;
  /** How many seconds each task takes where it is good. */
  medians: Record<string, number>;
  /** Seconds that a run may take. */
  timeout: number | null;
  failure: Failure | null;
  alike: string[];
  compared: number;
}

export interface Calendar {
  days: { day: string; states: Partial<Record<State, number>> }[];
  complete_from: string;
}

export interface Cause {
  name: string;
  detail: string;
  blocks: boolean;
  since?: string;
}

export interface Health {
  health: string;
  cause?: string;
  causes?: Cause[];
}

export interface System extends Stamp {
  state: string;
  problem: string | null;
  causes: Cause[];
  draining: string | null;
  limits: { name: string; capacity: number; used: number; waiting: number; heldBy: string[] }[];
  /** Seconds. */
  lag: { median: number; p99: number; minutes: number[] } | null;
  pid: number;
  python: string;
  trio: string;
  jobs: number;
  paused: number;
  missed: number;
  executions: { used: number; limit: number };
  tasks_running: number;
  tasks_retrying: number;
  threads: { used: number; limit: number };
  descriptors: number | null;
  streams: { used: number; limit: number };
  events: number;
  store: { kind: string; durability: string; bytes: number | null };
  ticks: { job: string; at: string }[];
  failing: { job: string; times: number; failure: Failure | null }[];
}

/** One event of the feed. */
export interface FeedEvent {
  seq: number;
  at: string;
  type: string;
  execution?: string;
  job?: string;
  task?: string;
  attempt?: number;
  [field: string]: unknown;
}

/** An answer that is no success, or none at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly method: string,
    readonly path: string,
    readonly status: number,
    readonly detail: string,
    readonly fields: Record<string, string> = {},
  ) {
    super(status ? `${detail} (${status})` : detail);
  }
}

/** The absolute address of a path of the API, below whatever prefix the page was served from. */
export const address = (path: string): string => new URL('../api/' + path, document.baseURI).href;

/** One part of a path: a name may contain anything. */
export const part = (name: string): string => encodeURIComponent(name);

/** A query string of what is set; empty if nothing is. */
export function query(fields: Record<string, string | number | null | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) if (value != null && value !== '') search.set(name, String(value));
  const text = search.toString();
  return text && '?' + text;
}

/** Called on every answer, and on those that ask for a sign-in; the shell sets them. */
export const guard = { refused: () => {}, answered: () => {} };

/** Ask the server; the body of a success, decoded. */
export async function ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await request(method, path, body, signal);
  const text = await answer.text();
  return (text ? JSON.parse(text) : null) as T;
}

/** Ask the server; the answer itself if it is a success. */
export async function request(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(address(path), {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(method, path, 0, 'the server does not answer');
  }
  guard.answered();
  if (answer.ok) return answer;
  if (answer.status === 401) guard.refused();
  throw await problem(method, path, answer);
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => ask<T>('GET', path, undefined, signal);
export const post = <T>(path: string, body?: unknown): Promise<T> => ask<T>('POST', path, body);

async function problem(method: string, path: string, answer: Response): Promise<ApiError> {
  const text = await answer.text().catch(() => '');
  let body: { detail?: string; errors?: Record<string, string> } = {};
  try {
    body = JSON.parse(text);
  } catch {
    // the text is all there is
  }
  return new ApiError(method, path, answer.status, body.detail ?? (text.slice(0, 300) || answer.statusText), body.errors);
}
