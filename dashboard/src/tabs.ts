/**
 * Which tabs hold a stream. A browser opens six connections to a server, for all its tabs together (HTTP/1.1), so six
 * streams would leave none to ask anything with. The tabs tell each other when they open and close theirs, and one
 * gives way when more than three are open that are newer.
 */

const NEWER = 3;
const me = Math.random().toString(36).slice(2);
const channel = new BroadcastChannel('goflow');
const newer = new Set<string>();
let giveWay: (() => void) | null = null;

channel.onmessage = ({ data }: MessageEvent<{ tab: string; open: boolean }>) => {
  if (!data.open) newer.delete(data.tab);
  else if (giveWay && newer.add(data.tab).size > NEWER) giveWay();
};
addEventListener('pagehide', closed);

/** A stream is opened here; `yields` is called when it is to be closed for others. */
export function opened(yields: () => void): void {
  newer.clear();
  giveWay = yields;
  channel.postMessage({ tab: me, open: true });
}

/** It is closed. */
export function closed(): void {
  giveWay = null;
  channel.postMessage({ tab: me, open: false });
}
