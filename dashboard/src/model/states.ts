/** The states of executions and tasks: their words, their order, their one-letter codes on the wire. */

export const STATES = [
  'failed',
  'upforretry',
  'running',
  'notstarted',
  'cancelled',
  'skipped',
  'successful',
] as const;

/** A state, worst first in `STATES`. */
export type State = (typeof STATES)[number];

export const WORD: Record<State, string> = {
  failed: 'Failed',
  upforretry: 'Retrying',
  running: 'Running',
  notstarted: 'Waiting',
  cancelled: 'Cancelled',
  skipped: 'Skipped',
  successful: 'Succeeded',
};

const CODES: Record<string, State> = {
  f: 'failed',
  u: 'upforretry',
  r: 'running',
  n: 'notstarted',
  c: 'cancelled',
  k: 'skipped',
  s: 'successful',
};

/** The state behind a letter of the compact answers; undefined for `.`, a task that this run did not have. */
export const decode = (letter: string): State | undefined => CODES[letter];

export const isFinal = (state: State): boolean =>
  state === 'failed' || state === 'cancelled' || state === 'skipped' || state === 'successful';

/** The worst of some states; successful if there are none. */
export function worst(states: Iterable<State>): State {
  let best = STATES.length - 1;
  for (const state of states) best = Math.min(best, STATES.indexOf(state));
  return STATES[best]!;
}

/** "3 ok · 1 failed · 2 waiting": counts in the order of importance, without those that are 0. */
export function tally(states: Iterable<State>): string {
  const counts = new Map<State, number>();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  return STATES.filter((state) => counts.has(state))
    .map((state) => `${counts.get(state)} ${state === 'successful' ? 'ok' : WORD[state].toLowerCase()}`)
    .join(' · ');
}
