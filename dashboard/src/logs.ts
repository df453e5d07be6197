/** Kept output of an attempt, read by ranges of bytes. */

import { address, get, part, query, request } from './api';

export interface Slice {
  text: string;
  /** Where it begins and ends among the bytes that were printed. */
  offset: number;
  end: number;
  total: number;
  /** Bytes that were printed and are not kept. */
  lost: number;
  /** What is kept, from where to where. */
  kept: [number, number][];
  /** The number of the line it begins in. */
  line: number;
  finished: boolean;
  /** From which lines on they are of another second or stream. */
  marks: LogMark[];
}

export interface LogMark {
  line: number;
  at: string;
  stream: string;
}

interface Body {
  offset: number;
  nextOffset: number;
  total: number;
  kept: [number, number][];
  finished: boolean;
  line: number;
  text: string;
  marks: LogMark[];
}

export interface Hits {
  total: number;
  hits: { line: number; text: string }[];
}

/** The lines with a text in them, in all of the log. */
export const searchLog = (execution: string, task: string, attempt: number, search: string, signal: AbortSignal): Promise<Hits> =>
  get<Hits>(`${logPath(execution, task)}/search` + query({ search, attempt }), signal);

export const logPath = (execution: string, task: string): string =>
  `executions/${part(execution)}/tasks/${part(task)}/log`;

/** The address a browser can save the whole log from. */
export const logHref = (execution: string, task: string, attempt: number): string =>
  address(logPath(execution, task) + query({ attempt, format: 'text' }));

/** Read a part: from `offset`, or the last `tail` bytes. */
export async function readLog(
  execution: string,
  task: string,
  range: { attempt: number; offset?: number; limit?: number; tail?: number },
  signal?: AbortSignal,
): Promise<Slice> {
  const answer = await request('GET', logPath(execution, task) + query({ ...range }), undefined, signal);
  const body = (await answer.json()) as Body;
  const { nextOffset: end, ...rest } = body;
  return { ...rest, end, lost: body.total - body.kept.reduce((sum, [from, to]) => sum + to - from, 0) };
}
