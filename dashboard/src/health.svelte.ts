/** How the server says it is: asked now and then, and when something was done about it. */

import { address, type Health } from './api';
import { live } from './live.svelte';

const EVERY_MS = 10_000;
const UNWELL_MS = 3_000;
const FIRST_MS = 1_000; // after what the page itself asks for

class Wellbeing {
  /** `OK`, `draining`, `degraded`, `stalled` or `read-only`. */
  state = $state.raw('OK');
  detail = $state.raw('');

  async look(): Promise<void> {
    try {
      const body = (await (await fetch(address('health'))).json()) as Health;
      const first = body.causes?.find((cause) => cause.blocks && cause.name !== 'draining');
      live.problem = first?.detail ?? null;
      this.state = body.health;
      this.detail = body.cause ?? '';
    } catch {
      // not to be reached: the stream notices it too
    }
  }

  /** Ask until the function returned is called. */
  watch(): () => void {
    const ask = async () => {
      if (!document.hidden) await this.look();
      timer = setTimeout(ask, this.state === 'OK' ? EVERY_MS : UNWELL_MS);
    };
    let timer = setTimeout(ask, FIRST_MS);
    return () => clearTimeout(timer);
  }
}

export const wellbeing = new Wellbeing();
