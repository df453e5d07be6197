/** Lengths of time in words. Rounded once, before it is split, so that nothing reads "5m 60s". */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const two = (value: number): string => String(value).padStart(2, '0');

/** "87ms", "3.9s", "41s", "4m 12s", "2h 05m", "3d 4h". */
export function duration(ms: number | null | undefined): string {
  if (ms == null || !Number.isFinite(ms)) return '–';
  const value = Math.max(0, ms);
  if (value < 999.5) return `${Math.round(value)}ms`;
  if (value < 9_950) return `${(Math.round(value / 100) / 10).toFixed(1)}s`;
  const seconds = Math.round(value / SECOND);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`;
  const minutes = Math.round(value / MINUTE);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  const hours = Math.round(value / HOUR);
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** "+10 %", "−3 %": how much longer than usual something took; empty if that is not known. */
export function versus(took: number | null, usual: number | null): string {
  if (took == null || !usual) return '';
  const percent = Math.round((100 * (took - usual)) / usual);
  return `${percent < 0 ? '−' : '+'}${Math.abs(percent)} %`;
}

/** How long the run at a place took, in milliseconds, from the compact answer, which has two characters for each. */
export function decodeTook(text: string, place: number): number | null {
  const digit = (at: number): number => {
    const code = text.charCodeAt(at);
    return code - 35 - (code > 92 ? 1 : 0); // from "#", without "\\"
  };
  const number = digit(2 * place) * 91 + digit(2 * place + 1);
  return number >= 0 ? ((number % 900) + 100) * 10 ** (Math.floor(number / 900) - 2) : null;
}

/** As `duration`, for the ticks of an axis, which are round: "30s", "2m", "1h". */
export const tickLabel = (ms: number): string => duration(ms).replace(/ 00[sm]$| 0h$|\.0(?=s)/, '');

/** "in 53 s", "6 h ago", "now": one unit, for rows. Two where a day is near: "in 1 d 17 h". */
export function relative(at: number, now: number): string {
  const gap = at - now;
  const size = Math.abs(gap);
  if (size < SECOND) return 'now';
  const text = rough(size);
  return gap > 0 ? `in ${text}` : `${text} ago`;
}

/** "53 s", "4 min", "2 h 10 min", "1 d 17 h", "12 d". */
export function rough(ms: number): string {
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) {
    const minutes = Math.floor(ms / MINUTE);
    const rest = minutes % 60;
    return minutes < 6 * 60 && rest ? `${Math.floor(minutes / 60)} h ${rest} min` : `${Math.floor(minutes / 60)} h`;
  }
  const hours = Math.floor(ms / HOUR);
  return hours < 7 * 24 && hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

/** The middle value of some numbers; null if there are none. */
export function median(values: readonly number[]): number | null {
  return quantile(values, 0.5);
}

/** The value below which a share of some numbers lies (nearest rank, as the server's). */
export function quantile(values: readonly number[], share: number): number | null {
  if (!values.length) return null;
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? sorted[0]!;
}

/** "1 run", "1 204 runs". */
export function plural(count: number, one: string, many = one + 's'): string {
  return `${count.toLocaleString('en').replaceAll(',', '\u2009')} ${count === 1 ? one : many}`;
}

/** "11 B", "1.1 KB", "3.4 MB". */
export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  for (const unit of ['KB', 'MB', 'GB']) {
    count /= 1000;
    if (count < 999.5) return `${count < 9.95 ? count.toFixed(1) : Math.round(count)} ${unit}`;
  }
  return `${Math.round(count)} GB`;
}
