/** Actions that the first page needs late or not at all: on many things at once, and the answer to an approval. */

import { desk } from './actions.svelte';
import { part, post } from './api';

/** Do the same to many things, one after the other; what was refused is counted and told, and stops nothing. */
export async function many<T>(done: string, things: readonly T[], work: (thing: T) => Promise<unknown>): Promise<void> {
  await desk.run('bulk', async () => {
    let refused = 0;
    let why = '';
    for (const [at, thing] of things.entries()) {
      desk.bulk = `${at + 1} of ${things.length}…`;
      await work(thing).catch((error: unknown) => {
        refused += 1;
        why ||= error instanceof Error ? error.message : String(error);
      });
    }
    desk.bulk = '';
    const text = `${things.length - refused} ${done}`;
    desk.toast({ kind: refused ? 'bad' : 'good', text: refused ? `${text}, ${refused} refused: ${why}` : text });
  });
}

export const cancelMany = (ids: readonly string[]): Promise<void> => many('cancelled', ids, (id) => post(`executions/${part(id)}/cancel`));
export const retryMany = (ids: readonly string[]): Promise<void> =>
  many('run again', ids, (id) => post(`executions/${part(id)}/retry`, { from: 'failed' }));
/** Of jobs: `submit`, `pause` or `resume`. */
export const jobsMany = (done: string, what: string, names: readonly string[]): Promise<void> =>
  many(done, names, (name) => post(`jobs/${part(name)}/${what}`));

export async function approve(id: string, task: string, approved: boolean): Promise<void> {
  const done = await desk.run(`approve ${id} ${task}`, () =>
    post(`executions/${part(id)}/tasks/${part(task)}/approve`, { approved }),
  );
  if (done !== undefined) desk.toast({ kind: 'good', text: approved ? `${task} is approved` : `${task} is refused` });
}
