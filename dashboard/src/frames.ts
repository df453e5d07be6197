/** Server-sent events, read from text. */

import type { FeedEvent } from './api';

export interface Frames {
  events: FeedEvent[];
  /** The last id told: up to there nothing was missed. */
  position: number;
}

/** What is in some frames of a stream. */
export function parseFrames(text: string): Frames {
  const events: FeedEvent[] = [];
  let position = 0;
  for (const frame of text.split('\n\n')) {
    let data = '';
    for (const line of frame.split('\n')) {
      if (line.startsWith('data:')) data += (data ? '\n' : '') + line.slice(5).trimStart();
      else if (line.startsWith('id:')) position = Math.max(position, Number(line.slice(3)) || 0);
    }
    if (data) events.push(JSON.parse(data) as FeedEvent);
  }
  return { events, position };
}
