/** What this viewer prefers, remembered in the browser. */

const KEY = 'goflow.';

function kept(name: string, fallback: string): string {
  try {
    return localStorage.getItem(KEY + name) ?? fallback;
  } catch {
    return fallback; // storage is switched off
  }
}

function keep(name: string, value: string): void {
  try {
    localStorage.setItem(KEY + name, value);
  } catch {
    // then it lasts as long as the page
  }
}

export type Theme = 'system' | 'light' | 'dark';
export type ZoneChoice = 'viewer' | 'job' | 'utc';

class Prefs {
  theme = $state.raw(kept('theme', 'system') as Theme);
  zone = $state.raw(kept('zone', 'viewer') as ZoneChoice);
  rows = $state.raw(kept('rows', 'comfortable'));
  runs = $state.raw(Number(kept('runs', '50')) || 50);
  keys = $state.raw(kept('keys', 'on'));
  sort = $state.raw(kept('sort', 'attention'));
  wrap = $state.raw(kept('wrap', 'off'));
  time = $state.raw(kept('time', 'off'));
  group = $state.raw(kept('group', 'none'));
  /** Groups that are closed, one a line. */
  closed = $state.raw(kept('closed', ''));

  readonly viewerZone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

  set<K extends 'theme' | 'zone' | 'rows' | 'runs' | 'keys' | 'sort' | 'wrap' | 'time' | 'group' | 'closed'>(name: K, value: Prefs[K]): void {
    (this as unknown as Record<string, unknown>)[name] = value;
    keep(name, String(value));
    this.paint();
  }

  /** Put what is preferred where the style sheets look for it. */
  paint(): void {
    const root = document.documentElement;
    if (this.theme === 'system') root.removeAttribute('data-theme');
    else root.dataset.theme = this.theme;
    root.dataset.rows = this.rows;
  }

  /** The zone that times are shown in, given the zone of the job they belong to. */
  zoneFor(job?: string | null): string {
    return this.zone === 'utc' ? 'UTC' : this.zone === 'job' && job ? job : this.viewerZone;
  }

  nextTheme(): void {
    this.set('theme', this.theme === 'system' ? 'light' : this.theme === 'light' ? 'dark' : 'system');
  }

  nextZone(): void {
    this.set('zone', this.zone === 'viewer' ? 'job' : this.zone === 'job' ? 'utc' : 'viewer');
  }
}

export const prefs = new Prefs();
prefs.paint();
