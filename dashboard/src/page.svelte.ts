/** The life of a page, which is the same for all: it reads a snapshot and follows the stream after it until it is left. */

import { onMount } from 'svelte';
import { get, type Stamp } from './api';
import { live, type Topic } from './live.svelte';

interface Course {
  /** What stands in the browser's tab. */
  title(): string;
  /** Read the state; the position it is true of. */
  load(): Promise<number>;
  /** What is followed after that. */
  follow(): Omit<Topic, 'after' | 'reload'> & Partial<Topic>;
  /** Whatever is asked for: it is read anew when this changes. */
  asked?(): string;
}

/** The types of all events but those of what tasks print, and how far they are. */
export const CHANGES =
  'execution.*,schedule.*,task.started,task.expanded,task.succeeded,task.failed,task.skipped,task.cancelled,task.retry_scheduled';

const TYPING_MS = 200;

export class Page {
  /** Why it could not be read. */
  error = $state.raw<unknown>(null);
  /** It was left. */
  gone = false;
  #stop: (() => void) | undefined;

  constructor(readonly course: Course) {
    const asked = $derived(course.asked?.());
    let begun = false;
    $effect(() => {
      void asked;
      const timer = setTimeout(this.again, begun ? TYPING_MS : 0);
      begun = true;
      return () => clearTimeout(timer);
    });
    $effect(() => {
      document.title = `${course.title()} · goflow`;
    });
    onMount(() => () => {
      this.gone = true;
      this.#stop?.();
    });
  }

  again = async (): Promise<void> => {
    const { load, follow } = this.course;
    const failed = (error: unknown) => (this.error = error);
    this.#stop?.();
    this.error = null;
    try {
      const after = await load();
      if (!this.gone) this.#stop = live.follow({ after, reload: load, failed, ...follow() });
    } catch (error) {
      failed(error);
    }
  };

  /** Read it anew, if that can be. */
  refresh = (): void => void this.course.load().catch(() => {});
}

/** Read a snapshot, and note what it says of the server. */
export async function snapshot<T extends Stamp>(path: string): Promise<T> {
  const answer = await get<T>(path);
  live.heed(answer);
  return answer;
}

class Room {
  width = $state.raw(innerWidth);
  height = $state.raw(innerHeight);

  constructor() {
    addEventListener('resize', () => {
      this.width = innerWidth;
      this.height = innerHeight;
    });
  }
}

/** How much room there is. */
export const room = new Room();
