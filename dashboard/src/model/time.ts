/** Instants in a zone. Milliseconds since the epoch in, text out; Intl owns the clock changes. */

const cache = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options);
  let made = cache.get(key);
  if (!made) {
    try {
      made = new Intl.DateTimeFormat('en-GB', { ...options, timeZone: zone, hourCycle: 'h23' });
    } catch {
      made = new Intl.DateTimeFormat('en-GB', { ...options, timeZone: 'UTC', hourCycle: 'h23' });
    }
    cache.set(key, made);
  }
  return made;
}

/** The instant of a timestamp of the API; null for none. */
export function parse(text: string | null | undefined): number | null {
  if (!text) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

/** When an execution was submitted, which its id (a UUID of version 7) begins with; null if it is none. */
export function timeOf(id: string): number | null {
  const at = parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return Number.isNaN(at) ? null : at;
}

/** "09:14:07". */
export const clock = (at: number, zone: string): string =>
  format(zone, { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(at);

/** "09:14:07.114". */
export const preciseClock = (at: number, zone: string): string =>
  `${clock(at, zone)}.${String(Math.floor(((at % 1000) + 1000) % 1000)).padStart(3, '0')}`;

/** "2026-11-24", to compare days and to group by them. */
export function dayKey(at: number, zone: string): string {
  const parts = format(zone, { year: 'numeric', month: '2-digit', day: '2-digit' }).formatToParts(at);
  const get = (type: string) => parts.find((part) => part.type === type)?.value ?? '';
  return `${get('year')}-${get('month')}-${get('day')}`;
}

/** "Tue 24 Nov 03:00". */
export function dayAndMinute(at: number, zone: string): string {
  const day = format(zone, { weekday: 'short', day: 'numeric', month: 'short' }).format(at).replace(',', '');
  return `${day} ${format(zone, { hour: '2-digit', minute: '2-digit' }).format(at)}`;
}

/** As `dayAndMinute`, with the seconds. */
export const dayAndClock = (at: number, zone: string): string => `${dayAndMinute(at, zone).slice(0, -5)}${clock(at, zone)}`;

/** The clock alone for today, else with the day, with the year if it is another. */
export function when(at: number, now: number, zone: string): string {
  const day = dayKey(at, zone);
  const today = dayKey(now, zone);
  if (day === today) return clock(at, zone);
  const date = format(zone, {
    day: 'numeric',
    month: 'short',
    ...(day.slice(0, 4) === today.slice(0, 4) ? {} : { year: 'numeric' }),
  }).format(at);
  return `${date} ${clock(at, zone)}`;
}

/** "Tue 24 Nov 2026, 03:00:00 GMT+1": for titles, in full and with the zone. */
export const full = (at: number, zone: string): string =>
  format(zone, {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    timeZoneName: 'short',
  }).format(at);

/** Minutes that a zone's clocks are ahead of UTC at an instant. */
export function offset(at: number, zone: string): number {
  const parts = format(zone, {
    year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit',
  }).formatToParts(at);
  const get = (type: string) => Number(parts.find((part) => part.type === type)?.value);
  const local = Date.UTC(get('year'), get('month') - 1, get('day'), get('hour'), get('minute'), get('second'));
  return Math.round((local - Math.floor(at / 1000) * 1000) / 60_000);
}

/** What is odd about an instant: its clocks change within the hour before or after. Empty where nothing is. */
export function oddity(at: number, zone: string): string {
  const before = offset(at - 3_700_000, zone);
  const after = offset(at + 3_700_000, zone);
  if (before === after) return '';
  const change = after - before;
  return `clocks go ${change > 0 ? 'forward' : 'back'} ${Math.abs(change)} min`;
}
