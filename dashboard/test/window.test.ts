import { describe, expect, it } from 'vitest';
import { visible } from '../src/ui/window';

describe('the rows near the screen', () => {
  it('are all of a short list', () => {
    expect(visible(120, 20, -5000, 400)).toEqual({ from: 0, to: 120 });
  });

  it('cover the screen wherever it is', () => {
    for (let top = 300; top > -25_000; top -= 7) {
      const { from, to } = visible(1000, 20, top, 400);
      expect(from).toBeGreaterThanOrEqual(0);
      expect(to).toBeLessThanOrEqual(1000);
      expect(from * 20).toBeLessThanOrEqual(Math.max(0, Math.min(-top, 1000 * 20)));
      expect(to * 20).toBeGreaterThanOrEqual(Math.min(1000 * 20, 400 - top));
      expect(to - from).toBeLessThan(20 + 4 * 12);
    }
  });

  it('are the same object while they are the same', () => {
    expect(visible(1000, 20, -1000, 400)).toBe(visible(1000, 20, -1010, 400));
  });
});
