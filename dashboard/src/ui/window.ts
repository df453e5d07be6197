/** Which rows of a long list are near the screen; the others are one empty block above and one below. */

export interface Window {
  from: number;
  to: number;
}

const SPARE = 12;
const SHORT = 120;

/** The rows to draw of `count` rows of one height, in a list whose top is `top` pixels below the top of the screen. */
export function visible(count: number, height: number, top: number, screen: number): Window {
  if (count <= SHORT) return { from: 0, to: count };
  const from = Math.max(0, Math.floor(-top / height) - SPARE);
  return { from: Math.min(from, count), to: Math.min(count, Math.ceil((screen - top) / height) + SPARE) };
}
