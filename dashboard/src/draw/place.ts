/**
 * Where the nodes of a graph go: a small graph at once, a large one in a worker, so that the page answers meanwhile. Where
 * a worker cannot be had, the page does it itself.
 */

import { layout, scriptUrl, type Layout, type Sizes } from './layout';

/** Up to so many tasks a layout takes less than the start of a worker. */
const FEW = 150;

/** Call `done` with the layout, before this returns if the graph is small. The function returned takes the wish back. */
export function place(graph: Record<string, readonly string[]>, sizes: Sizes, done: (layout: Layout) => void): () => void {
  if (Object.keys(graph).length <= FEW) {
    done(layout(graph, sizes));
    return () => {};
  }
  let worker: Worker | undefined;
  const here = () => done(layout(graph, sizes));
  try {
    worker = new Worker(scriptUrl(), { type: 'module' });
    worker.onmessage = ({ data }: MessageEvent<Layout>) => {
      worker!.terminate();
      done(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker!.terminate();
      here();
    };
    worker.postMessage([graph, sizes]);
  } catch {
    here();
  }
  return () => worker?.terminate();
}
