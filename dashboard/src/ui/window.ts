/** Which rows of a long list are near the screen; the others are one empty block above and one below. */

export interface Window {
  from: number;
  to: number;
}

const SPARE = 12;
const SHORT = 120;
let last: Window = { from: 0, to: 0 };

/** The rows to draw of `count` rows of one height, in a list whose top is `top` pixels below the top of the screen. */
export function visible(count: number, height: number, top: number, screen: number): Window {
  if (count <= SHORT) return { from: 0, to: count };
  // In steps, and the same object where it is the same, so that most of the time scrolling changes nothing.
  const from = Math.min(count, Math.max(0, Math.floor(-top / height / SPARE - 1) * SPARE));
  const to = Math.min(count, Math.ceil((screen - top) / height / SPARE + 1) * SPARE);
  if (last.from !== from || last.to !== to) last = { from, to };
  return last;
}
