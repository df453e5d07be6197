/**
 * The one stream of this tab, the clock that ticks for all, and what is known of the server.
 *
 * A page loads a snapshot and then follows the feed after its `seq`. Lost connections are taken up again with a growing
 * delay; the page reloads its snapshot unless it asks for every event (`exact`), and goes on after the last one it saw.
 * Read with `fetch`, not `EventSource`: that hides heartbeats and statuses, and with them a dead line and a refusal.
 * A tab that gave its stream up for others (see `tabs`), or has none because a proxy holds it back, asks again and again.
 */

import { address, ApiError, query, type FeedEvent, type Stamp } from './api';
import { parseFrames, type Frames } from './frames';
import { closed, opened } from './tabs';

export type Connection = 'connecting' | 'live' | 'polling' | 'reconnecting' | 'offline';

export interface Topic {
  /** Filters of `/api/events`. */
  filter: Record<string, string>;
  /** The position to begin after. */
  after: number;
  /** Whether it wants each event rather than a new snapshot after a gap. */
  exact?: boolean;
  apply(events: FeedEvent[]): void;
  /** Read the state anew; the position it is true of. */
  reload(): Promise<number>;
  /** Told when that is refused: what was shown is gone. */
  failed?(error: unknown): void;
}

const QUIET_MS = 32_000;
const FIRST_BYTE_MS = 20_000;
const POLL_MS = 5_000;
const OFFLINE_MS = 15_000;
const HIDDEN_MS = 30_000;
const RETRY_MS = 500;
const RETRY_MOST_MS = 15_000;
const PACE_MS = 100;
const CROWD = 500;
const CROWD_PACE_MS = 250;

class Live {
  /** How the stream is. */
  connection = $state.raw<Connection>('connecting');
  /** When it was lost; null while it is there. */
  lostAt = $state.raw<number | null>(null);
  /** When something was last heard. */
  heardAt = $state.raw<number>(Date.now());
  /** The position of the last event that was heard. */
  seq = $state.raw(0);
  openedAt = $state.raw<number | null>(null);
  resumes = $state.raw(0);
  /** Whether the server asks for a sign-in. */
  refused = $state.raw(false);
  /** Counted up to make pages load anew: after a sign-in, for one. */
  epoch = $state.raw(0);
  /** What the server said of itself. */
  build = $state.raw('');
  started = $state.raw('');
  problem = $state.raw<string | null>(null);
  restartedAt = $state.raw<number | null>(null);
  newBuild = $state.raw(false);

  #offset = 0;
  #abort: AbortController | null = null;
  #topic: Topic | null = null;
  #wake: (() => void) | null = null;
  #gaveWay = false;

  /** The server's clock, as far as it is known here. */
  now(): number {
    return Date.now() + this.#offset;
  }

  get offset(): number {
    return this.#offset;
  }

  /** Whether actions can be expected to reach the server. */
  get usable(): boolean {
    return this.connection !== 'offline';
  }

  /** Note what each snapshot says of the server. */
  heed(stamp: Stamp): void {
    const at = Date.parse(stamp.server_time);
    if (!Number.isNaN(at)) this.#offset = at - Date.now();
    if (this.started && stamp.started !== this.started) this.restartedAt = this.now();
    if (this.build && stamp.build !== this.build) this.newBuild = true;
    this.started = stamp.started;
    this.build ||= stamp.build;
    this.seq = Math.max(this.seq, stamp.seq);
    if (stamp.seq < this.seq && this.restartedAt) this.seq = stamp.seq;
    ticker.sync();
  }

  /** Follow one topic instead of the last one; the function returned stops it. */
  follow(topic: Topic): () => void {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.#topic = topic;
    this.#gaveWay = false;
    void this.#run(topic, abort.signal);
    return () => {
      abort.abort();
      if (this.#topic === topic) this.#topic = null;
    };
  }

  /** Note that the server answered something: it is there, though a page may have no stream. */
  answered(): void {
    this.heardAt = this.now();
    if (this.connection === 'connecting' && !this.#topic) this.connection = 'live';
  }

  /** Try again now. */
  retry(): void {
    this.#wake?.();
  }

  async #run(topic: Topic, signal: AbortSignal): Promise<void> {
    let after = topic.after;
    let delay = RETRY_MS;
    let first = true;
    while (!signal.aborted) {
      const polls = this.#gaveWay;
      try {
        if (polls) await this.#pollUntilUsed(topic, signal);
        if (signal.aborted) return;
        if (!first && !topic.exact) after = await topic.reload();
        for await (const { events, position } of this.#read(topic, after, signal)) {
          delay = RETRY_MS;
          after = Math.max(after, position);
          if (!events.length) continue;
          if (events.some((event) => event.type === 'reset')) {
            after = await topic.reload();
            events.splice(0, events.length, ...events.filter((event) => event.seq > after));
          }
          for (const event of events) after = Math.max(after, event.seq);
          this.seq = Math.max(this.seq, after);
          if (events.length) topic.apply(events);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && [403, 404, 410].includes(error.status) && topic.failed) {
          this.#connected(); // the server is there; what was looked at is not
          topic.failed(error);
          return;
        }
        // every other failure is the same here: the line is gone
      }
      if (signal.aborted) return;
      first = false;
      if (this.#gaveWay && !polls) continue;
      this.lostAt ??= this.now();
      this.openedAt = null;
      const hidden = document.hidden;
      if (this.connection !== 'offline') this.connection = 'reconnecting';
      await this.#pause(hidden ? null : delay * (0.75 + Math.random() / 2), signal);
      delay = Math.min(delay * 2, RETRY_MOST_MS);
      this.resumes += 1;
    }
  }

  /** Batches of events as they come, empty ones for heartbeats, which also tell a position; ends when the line does. */
  async *#read(topic: Topic, after: number, signal: AbortSignal): AsyncGenerator<Frames> {
    const abort = new AbortController();
    const stop = () => abort.abort();
    signal.addEventListener('abort', stop);
    let held = false; // back by something on the way
    let watchdog = setTimeout(() => {
      held = true;
      stop();
    }, FIRST_BYTE_MS);
    let hiding: ReturnType<typeof setTimeout> | undefined;
    const onVisibility = () => {
      clearTimeout(hiding);
      if (document.hidden) hiding = setTimeout(stop, HIDDEN_MS);
    };
    document.addEventListener('visibilitychange', onVisibility);
    try {
      opened(() => {
        this.#gaveWay = true;
        stop();
      });
      const url = address('events') + query({ ...topic.filter, after });
      const answer = await fetch(url, { signal: abort.signal, headers: { Accept: 'text/event-stream' } });
      if (answer.status === 401) {
        this.refused = true;
        await this.#pause(null, signal);
        return;
      }
      if (!answer.ok || !answer.body) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      let heard = false;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, QUIET_MS);
        if (!heard) this.#connected();
        heard = true;
        this.heardAt = this.now();
        rest += value;
        const cut = rest.lastIndexOf('\n\n');
        if (cut < 0) continue;
        const frames = parseFrames(rest.slice(0, cut));
        rest = rest.slice(cut + 2);
        yield frames;
        // What comes meanwhile is one batch: a page that is drawn sixty times a second for a hundred events takes twice
        // as much of a core as one that is drawn ten times, and nobody sees the difference.
        if (frames.events.length) await sleep(frames.events.length > CROWD ? CROWD_PACE_MS : PACE_MS);
      }
    } catch (error) {
      if (held && !signal.aborted) await this.#poll(topic, signal);
      else throw error;
    } finally {
      clearTimeout(watchdog);
      clearTimeout(hiding);
      document.removeEventListener('visibilitychange', onVisibility);
      signal.removeEventListener('abort', stop);
      abort.abort();
      closed();
    }
  }

  #connected(): void {
    this.connection = 'live';
    this.lostAt = null;
    this.openedAt = this.now();
  }

  /** Ask for the state instead of being told: other tabs have the streams, or something on the way holds ours back. */
  async #poll(topic: Topic, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!topic.exact) await topic.reload();
      this.connection = 'polling';
      this.lostAt = null;
      this.heardAt = this.now();
      await this.#pause(document.hidden ? null : POLL_MS, signal);
    }
  }

  /** Poll until somebody turns to this tab. */
  async #pollUntilUsed(topic: Topic, signal: AbortSignal): Promise<void> {
    const used = new AbortController();
    const use = () => !document.hidden && used.abort();
    const options = { signal: AbortSignal.any([signal, used.signal]) };
    for (const what of ['focus', 'pointerdown', 'keydown']) window.addEventListener(what, use, options);
    document.addEventListener('visibilitychange', use, options);
    await this.#poll(topic, options.signal);
    this.#gaveWay = false;
  }

  #pause(ms: number | null, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        document.removeEventListener('visibilitychange', seen);
        window.removeEventListener('online', done);
        this.#wake = null;
        resolve();
      };
      const seen = () => !document.hidden && done();
      const timer = ms == null ? undefined : setTimeout(done, ms);
      document.addEventListener('visibilitychange', seen);
      window.addEventListener('online', done);
      signal.addEventListener('abort', done, { once: true });
      this.#wake = done;
    });
  }

  /** Called once a second: lost for long is another word than lost just now. */
  tick(): void {
    if (this.lostAt != null && this.connection === 'reconnecting' && this.now() - this.lostAt > OFFLINE_MS) {
      this.connection = 'offline';
    }
  }

  signedIn(): void {
    this.refused = false;
    this.epoch += 1;
    this.retry();
  }
}

const sleep = (ms: number): Promise<unknown> => new Promise((done) => setTimeout(done, ms));

export const live = new Live();

class Ticker {
  /** The server's time, once a second. */
  now = $state.raw(Date.now());
  #last = Date.now();

  constructor() {
    setInterval(() => {
      const gap = Date.now() - this.#last;
      this.#last = Date.now();
      if (document.hidden) return;
      if (gap > 10_000) live.retry(); // slept, or the clock was set
      this.now = live.now();
      live.tick();
    }, 1000);
  }

  /** Show the right time at once: after a snapshot that corrected the clock. */
  sync(): void {
    this.now = live.now();
  }
}

export const ticker = new Ticker();
