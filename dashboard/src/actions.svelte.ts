/** What can be done to jobs and executions, and the toasts and the dialog that go with it. Nothing is optimistic. */

import { ApiError, part, post } from './api';
import { wellbeing } from './health.svelte';
import { live } from './live.svelte';
import { duration, plural } from './model/duration';
import { jobHref, router, runHref } from './router.svelte';

export interface Toast {
  id: number;
  kind: 'good' | 'bad';
  text: string;
  href?: string;
  link?: string;
  retry?: () => void;
}

class Desk {
  toasts = $state.raw<Toast[]>([]);
  /** Keys of actions that were sent and not answered. */
  pending = $state.raw<Record<string, boolean>>({});
  /** The job whose parameters are being asked for, and those to begin with. */
  form = $state.raw<{ job: string; params?: Record<string, unknown> } | null>(null);
  /** How far the action on many things is; empty if none goes on. */
  bulk = $state.raw('');
  /** What screen readers are told, politely. */
  said = $state.raw('');
  #next = 1;

  toast(toast: Omit<Toast, 'id'>): void {
    const id = this.#next++;
    this.toasts = [...this.toasts.slice(-3), { ...toast, id }];
    setTimeout(() => this.dismiss(id), toast.kind === 'bad' ? 12_000 : 5_000);
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  say(text: string): void {
    this.said = text;
  }

  /** Do something once; its failure becomes a toast that offers to try again. */
  async run<T>(key: string, work: () => Promise<T>, quiet = false): Promise<T | undefined> {
    if (this.pending[key]) return undefined;
    this.pending = { ...this.pending, [key]: true };
    try {
      return await work();
    } catch (error) {
      if (quiet) throw error;
      if (error instanceof ApiError && error.status === 503) void wellbeing.look(); // it says why, on every page
      const text =
        error instanceof ApiError ? `${error.method} ${error.path.split('?')[0]}: ${error.message}` : String(error);
      this.toast({ kind: 'bad', text, retry: () => void this.run(key, work) });
      return undefined;
    } finally {
      this.pending = { ...this.pending, [key]: false };
    }
  }
}

export const desk = new Desk();

/** Why nothing can be done at the moment; empty if it can. */
export const blocked = (): string =>
  live.usable ? (live.problem ? `the store takes no writes: ${live.problem}` : '') : 'not connected';

interface Submitted {
  id: string;
}

export async function submit(job: string, params?: Record<string, unknown>, quiet = false): Promise<string | undefined> {
  const answer = await desk.run(
    `run ${job}`,
    () => post<Submitted>(`jobs/${part(job)}/submit`, params ? { params } : undefined),
    quiet,
  );
  if (!answer) return undefined;
  desk.toast({ kind: 'good', text: `${job} runs`, href: runHref(answer.id), link: 'open' });
  return answer.id;
}

export async function submitAndOpen(job: string): Promise<void> {
  const id = await submit(job);
  if (id) router.go(runHref(id));
}

export async function toggle(job: string): Promise<void> {
  const answer = await desk.run(`toggle ${job}`, () => post<{ active: boolean }>(`jobs/${part(job)}/toggle`));
  if (answer) {
    desk.toast({ kind: 'good', text: answer.active ? `schedule of ${job} is on` : `schedule of ${job} is paused`, href: jobHref(job), link: 'job' });
  }
}

interface Receipt {
  tasks: number;
  processes?: number;
  seconds: number;
}

export async function cancel(id: string): Promise<void> {
  const answer = await desk.run(`cancel ${id}`, () => post<Receipt>(`executions/${part(id)}/cancel`));
  if (!answer) return;
  const processes = answer.processes ? `, ${plural(answer.processes, 'process', 'processes')} ended` : '';
  desk.toast({ kind: 'good', text: `cancelled in ${duration(answer.seconds * 1000)}: ${plural(answer.tasks, 'task')}${processes}` });
}

export async function retry(id: string, from: 'failed' | 'start' = 'failed', task: string | null = null): Promise<void> {
  const answer = await desk.run(`retry ${id}`, () => post<{ id?: string }>(`executions/${part(id)}/retry`, { from, task }));
  if (!answer) return;
  desk.toast({ kind: 'good', text: 'runs again' });
  if (answer.id && answer.id !== id) router.go(runHref(answer.id));
  else live.epoch += 1;
}
