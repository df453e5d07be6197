/** Kept output of an attempt, read by ranges of bytes. */

import { address, part, query, request } from './api';

export interface Slice {
  text: string;
  /** Where it begins and ends among the bytes that were printed. */
  offset: number;
  end: number;
  total: number;
  /** Bytes that were printed and are not kept. */
  lost: number;
  finished: boolean;
}

interface Body {
  offset: number;
  next_offset?: number;
  nextOffset?: number;
  total: number;
  kept?: [number, number][] | { start: number; stop: number }[];
  truncated?: boolean;
  finished?: boolean;
  data?: string;
  text?: string;
}

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
  const text = body.text ?? body.data ?? '';
  const end = body.next_offset ?? body.nextOffset ?? body.offset + new TextEncoder().encode(text).length;
  const kept = (body.kept ?? []).reduce((sum, range) => sum + (Array.isArray(range) ? range[1] - range[0] : range.stop - range.start), 0);
  return {
    text,
    offset: body.offset,
    end,
    total: body.total,
    lost: body.kept ? Math.max(0, body.total - kept) : 0,
    finished: body.finished ?? true,
  };
}
