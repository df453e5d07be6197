/** Schedules in words, for those whose words are short and certain; the text itself for all others. */

const NAMES: Record<string, string> = {
  '@yearly': 'yearly', '@annually': 'yearly', '@monthly': 'monthly', '@weekly': 'weekly',
  '@daily': 'daily 00:00', '@midnight': 'daily 00:00', '@hourly': 'hourly',
};
const DAYS = ['Sundays', 'Mondays', 'Tuesdays', 'Wednesdays', 'Thursdays', 'Fridays', 'Saturdays', 'Sundays'];
const UNITS: [RegExp, string][] = [[/^\*\/(\d+)$/, 'every $1 '], [/^\*$/, 'every ']];

/** "daily 03:00", "every 5 min", "weekdays 06:00"; the cron text where it says more than that. */
export function words(schedule: string): string {
  if (!schedule) return 'by hand';
  if (NAMES[schedule]) return NAMES[schedule];
  if (schedule.startsWith('@every ')) return 'every ' + schedule.slice(7);
  const fields = schedule.trim().split(/\s+/);
  if (fields.length === 6) {
    const second = fields[0]!;
    if (fields.slice(1).every((field) => field === '*')) return step(second, 'second', 's') ?? schedule;
    if (second !== '0') return schedule;
    fields.shift();
  }
  if (fields.length !== 5) return schedule;
  const [minute, hour, day, month, weekday] = fields as [string, string, string, string, string];
  if (month !== '*') return schedule;
  const free = day === '*' && weekday === '*';
  if (free && hour === '*') {
    return step(minute, 'minute', 'min') ?? (/^\d+$/.test(minute) ? `hourly at :${minute.padStart(2, '0')}` : schedule);
  }
  if (!/^\d+$/.test(minute)) return schedule;
  const mm = minute.padStart(2, '0');
  const every = /^\*\/(\d+)$/.exec(hour);
  if (free && every) return `every ${every[1]} h at :${mm}`;
  if (!/^\d+(,\d+)*$/.test(hour)) return schedule;
  const at = hour.split(',').map((one) => `${one.padStart(2, '0')}:${mm}`).join(', ');
  if (free) return `daily ${at}`;
  if (day === '*') {
    if (/^(1-5|mon-fri)$/i.test(weekday)) return `weekdays ${at}`;
    return /^[0-7]$/.test(weekday) ? `${DAYS[Number(weekday)]} ${at}` : schedule;
  }
  return weekday === '*' && /^\d+$/.test(day) ? `monthly on the ${day}. ${at}` : schedule;
}

function step(field: string, one: string, unit: string): string | null {
  for (const [pattern, text] of UNITS) {
    const match = pattern.exec(field);
    if (match) return match[1] ? text.replace('$1', match[1]) + unit : text + one;
  }
  return null;
}
