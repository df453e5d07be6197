/** What stands below the bars of a job's runs: how a run came about, and instants that had none. */

import { duration } from '../model/duration';
import { parse } from '../model/time';

export type Mark = 'manual' | 'again' | 'late';

const LATE_MS = 60_000;

interface Begun {
  trigger: string;
  submitted: string;
  scheduledFor: string | null;
  reopened: number;
}

/** What is unusual about how a run came about: run again, begun by somebody, or made up for later than its instant. */
export function mark({ trigger, submitted, scheduledFor, reopened }: Begun): { mark: Mark; says: string } | null {
  if (reopened) return { mark: 'again', says: reopened > 1 ? `run again ${reopened} times` : 'run again' };
  const late = trigger === 'schedule' && scheduledFor ? parse(submitted)! - parse(scheduledFor)! : 0;
  if (late > LATE_MS) return { mark: 'late', says: `caught up ${duration(late)} after its instant` };
  return trigger === 'schedule' ? null : { mark: 'manual', says: trigger };
}

/** The path of a mark in a box of `w` by 5 at a point: a dot, a ring, a wedge. */
export function markPath(kind: Mark, x: number, y: number, w: number): string {
  const m = x + w / 2;
  if (kind === 'manual') return `M${m - 1.5},${y + 1}h3v3h-3z`;
  if (kind === 'late') return `M${m - 2.5},${y}h5l-2.5,5z`;
  return `M${m - 2.5},${y}h5v5h-5zm1.5,1.5v2h2v-2z`;
}

export interface Miss {
  last: string;
  count: number;
  reason: string;
}

/** Before which of the runs how many instants were missed, and why; of those since the first run. */
export function missesBefore(submitted: readonly number[], missed: readonly Miss[]): Map<number, { count: number; says: string }> {
  const found = new Map<number, { count: number; says: string }>();
  for (const { last, count, reason } of missed) {
    const at = parse(last)!;
    if (submitted.length && at < submitted[0]!) continue;
    const place = submitted.filter((one) => one <= at).length;
    const before = found.get(place)?.count ?? 0;
    found.set(place, { count: before + count, says: `${before + count} missed: ${reason}` });
  }
  return found;
}
