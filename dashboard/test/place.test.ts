import { afterEach, describe, expect, it, vi } from 'vitest';
import { layout, type Layout } from '../src/draw/layout';
import { place } from '../src/draw/place';

const SIZES = { width: 100, height: 30, gapX: 20, gapY: 10 };
const chain = (length: number): Record<string, string[]> =>
  Object.fromEntries(Array.from({ length }, (_, i) => [`t${i}`, i + 1 < length ? [`t${i + 1}`] : []]));

/** A worker that answers when it is told to. */
class Fake {
  static made: Fake[] = [];
  onmessage?: (event: { data: Layout }) => void;
  onerror?: (event: Event) => void;
  asked: Parameters<typeof layout> | undefined;
  ended = false;
  constructor(readonly url: string) {
    Fake.made.push(this);
  }
  postMessage(asked: Parameters<typeof layout>): void {
    this.asked = structuredClone(asked);
  }
  terminate(): void {
    this.ended = true;
  }
}

describe('place', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
    Fake.made = [];
  });

  it('lays out a small graph at once', () => {
    vi.stubGlobal('Worker', Fake);
    const done = vi.fn();
    place(chain(150), SIZES, done);
    expect(done).toHaveBeenCalledWith(layout(chain(150), SIZES));
    expect(Fake.made).toEqual([]);
  });

  it('has a worker lay out a large one', () => {
    vi.stubGlobal('Worker', Fake);
    const done = vi.fn();
    place(chain(151), SIZES, done);
    const worker = Fake.made[0]!;
    expect(done).not.toHaveBeenCalled();
    worker.onmessage!({ data: structuredClone(layout(...worker.asked!)) });
    expect(done).toHaveBeenCalledWith(layout(chain(151), SIZES));
    expect(worker.ended).toBe(true);
  });

  it('does it itself where there is no worker, or it fails', () => {
    const done = vi.fn();
    place(chain(151), SIZES, done);
    expect(done).toHaveBeenCalledTimes(1);
    vi.stubGlobal('Worker', Fake);
    place(chain(151), SIZES, done);
    Fake.made[0]!.onerror!(new Event('error'));
    expect(done).toHaveBeenCalledTimes(2);
  });

  it('ends the work that nobody waits for any more', () => {
    vi.stubGlobal('Worker', Fake);
    place(chain(151), SIZES, () => {})();
    expect(Fake.made[0]!.ended).toBe(true);
  });
});
