/** The last runs of a job as bars, one path per state: 50 bars are seven elements, not fifty. */

import { median } from '../model/duration';
import type { State } from '../model/states';

export interface StripBar {
  state: State;
  took: number | null;
  /** Share of its usual duration that has passed, for a run that goes on. */
  progress?: number;
}

export interface StripSize {
  bar: number;
  gap: number;
  height: number;
}

export const stripSize = (count: number): StripSize =>
  count > 50 ? { bar: 3, gap: 1, height: 24 } : count > 25 ? { bar: 5, gap: 2, height: 24 } : { bar: 8, gap: 3, height: 24 };

/** The path of each state, the newest run at the right end of `slots` places. Outlines belong to hollow forms. */
export function stripPaths(
  bars: readonly StripBar[],
  slots: number,
  size: StripSize,
): { state: State; fill: string; outline: string }[] {
  const { bar, gap, height } = size;
  const usual = median(bars.flatMap(({ took, state }) => (took != null && state === 'successful' ? [took] : []))) ?? 1;
  const fills = new Map<State, string>();
  const outlines = new Map<State, string>();
  const add = (paths: Map<State, string>, state: State, path: string) =>
    paths.set(state, (paths.get(state) ?? '') + path);
  const shown = bars.slice(-slots);
  shown.forEach(({ state, took, progress }, place) => {
    const x = (slots - shown.length + place) * (bar + gap);
    const rect = (y: number, h: number, inset = 0) => `M${x + inset},${n(y)}h${bar - 2 * inset}v${n(h)}h${-(bar - 2 * inset)}z`;
    const tall = Math.round(Math.min(height * 0.92, Math.max(3, height * 0.55 * Math.pow((took ?? usual) / (usual || 1), 0.8))));
    switch (state) {
      case 'successful':
        add(fills, state, rect(height - tall, tall));
        break;
      case 'failed':
        add(fills, state, rect(0, height - 7) + rect(height - 4, 4));
        break;
      case 'upforretry':
        add(fills, state, rect(height - 4, 4) + rect(height - 10, 4) + rect(height - 16, 4));
        break;
      case 'skipped':
        add(fills, state, rect(height - 2, 2));
        break;
      case 'running': {
        const part = Math.max(0.12, Math.min(1, progress ?? 0)) * (height * 0.72);
        add(outlines, state, rect(height - height * 0.72 + 0.5, height * 0.72 - 1, 0.5));
        add(fills, state, rect(height - part, part));
        break;
      }
      case 'notstarted':
        add(outlines, state, rect(height - bar - 1, bar, 0.5));
        break;
      case 'cancelled':
        add(outlines, state, rect(height - tall + 0.5, tall - 1, 0.5));
        break;
    }
  });
  const states = new Set([...fills.keys(), ...outlines.keys()]);
  return [...states].map((state) => ({ state, fill: fills.get(state) ?? '', outline: outlines.get(state) ?? '' }));
}

const n = (value: number): number => Math.round(value * 10) / 10;
