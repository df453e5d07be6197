/** The address is the view: which page, of what, with which filters. Links are plain `<a href>` relative to `<base>`. */

export type PageName = 'jobs' | 'job' | 'runs' | 'execution' | 'events' | 'system' | 'none';

export interface Place {
  page: PageName;
  name: string;
  query: URLSearchParams;
}

const root = new URL(document.baseURI).pathname;

function read(): Place {
  const path = location.pathname.startsWith(root) ? location.pathname.slice(root.length) : '';
  const slash = path.indexOf('/');
  const head = slash < 0 ? path : path.slice(0, slash);
  let name = slash < 0 ? '' : path.slice(slash + 1);
  try {
    name = decodeURIComponent(name);
  } catch {
    // a stray % is part of the name
  }
  const query = new URLSearchParams(location.search);
  if (head === '') return { page: 'jobs', name: '', query };
  if (head === 'jobs' && name) return { page: 'job', name, query };
  if (head === 'executions' && name) return { page: 'execution', name, query };
  if ((head === 'runs' || head === 'events' || head === 'system') && !name) return { page: head, name: '', query };
  return { page: 'none', name: path, query };
}

class Router {
  place = $state.raw<Place>(read());

  constructor() {
    history.scrollRestoration = 'auto';
    window.addEventListener('popstate', () => (this.place = read()));
    document.addEventListener('click', (event) => {
      if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = event.target instanceof Element ? event.target.closest('a') : null;
      if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download')) return;
      const to = new URL(link.href);
      if (to.origin !== location.origin || !to.pathname.startsWith(root)) return;
      event.preventDefault();
      this.go(to.href);
    });
  }

  /** Go somewhere, by an address relative to `<base>`. */
  go(href: string): void {
    const to = new URL(href, document.baseURI);
    if (to.href === location.href) return;
    const same = to.pathname === location.pathname;
    history.pushState(null, '', to);
    this.place = read();
    if (!same) {
      window.scrollTo(0, 0);
      document.getElementById('main')?.focus({ preventScroll: true });
    }
  }

  /** Change fields of the query; null takes one away. With `push` the Back button undoes it. */
  set(fields: Record<string, string | number | null>, push = false): void {
    const to = new URL(location.href);
    for (const [name, value] of Object.entries(fields)) {
      if (value == null || value === '') to.searchParams.delete(name);
      else to.searchParams.set(name, String(value));
    }
    if (to.href === location.href) return;
    history[push ? 'pushState' : 'replaceState'](null, '', to);
    this.place = read();
  }
}

export const router = new Router();

export const jobHref = (job: string): string => `jobs/${encodeURIComponent(job)}`;
export const runHref = (id: string, task?: string | null): string =>
  `executions/${encodeURIComponent(id)}${task ? `?task=${encodeURIComponent(task)}` : ''}`;

/** The part of an id that tells runs apart at a glance. */
export const shortId = (id: string): string => id.slice(-8);
