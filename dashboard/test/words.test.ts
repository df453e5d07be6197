import { describe, expect, it } from 'vitest';
import { words } from '../src/model/cron';
import { bytes, decodeTook, duration, median, quantile, relative, tickLabel, versus } from '../src/model/duration';
import { score } from '../src/model/fuzzy';
import { readTraceback } from '../src/model/errors';
import { clock, dayAndMinute, dayKey, full, oddity, offset, timeOf, when } from '../src/model/time';
import { tally, worst } from '../src/model/states';

describe('duration', () => {
  it.each([
    [110, 100, '+10 %'], [100, 100, '+0 %'], [40, 100, '−60 %'], [5, null, ''], [null, 5, ''], [5, 0, ''],
  ])('%s against %s is %s', (took, usual, text) => expect(versus(took, usual)).toBe(text));

  it.each([
    [0, '0ms'], [87, '87ms'], [999, '999ms'], [999.6, '1.0s'], [3_940, '3.9s'], [9_949, '9.9s'], [9_951, '10s'],
    [59_400, '59s'], [59_600, '1m 00s'], [359_600, '6m 00s'], [252_000, '4m 12s'], [3_599_600, '1h 00m'],
    [7_500_000, '2h 05m'], [86_399_000, '1d 0h'], [86_400_000, '1d 0h'], [273_600_000, '3d 4h'], [-5, '0ms'], [null, '–'], [NaN, '–'],
  ])('%s ms is %s', (ms, text) => expect(duration(ms)).toBe(text));

  it('never says 60 of anything', () => {
    for (let ms = 1; ms < 4 * 86_400_000; ms = Math.ceil(ms * 1.003)) expect(duration(ms)).not.toMatch(/\b60[sm]\b|\b24h/);
  });

  it.each([[60_000, '1m'], [90_000, '1m 30s'], [3_600_000, '1h'], [2_000, '2s'], [500, '500ms']])('a tick of %s is %s', (ms, text) =>
    expect(tickLabel(ms)).toBe(text));

  it.each([
    [53_000, 'in 53 s'], [-6 * 3_600_000, '6 h ago'], [400, 'now'], [147_600_000, 'in 1 d 17 h'], [130 * 60_000, 'in 2 h 10 min'],
  ])('%s ms from now is %s', (gap, text) => expect(relative(1e12 + gap, 1e12)).toBe(text));

  it('takes the nearest rank', () => {
    expect([median([3, 1, 2]), median([1, 2, 3, 4]), median([]), quantile([1, 2, 3, 4], 0.95)]).toEqual([2, 2, null, 4]);
  });

  it.each([[11, '11 B'], [1_100, '1.1 KB'], [999_600, '1.0 MB'], [212e6, '212 MB']])('%s bytes are %s', (count, text) =>
    expect(bytes(count)).toBe(text));
});

describe('zones', () => {
  const berlin = 'Europe/Berlin';
  const gap = Date.parse('2026-03-29T01:00:00Z');
  const fold = Date.parse('2026-10-25T01:00:00Z');

  it('knows the clocks of a zone on both sides of a change', () => {
    expect(clock(gap - 1000, berlin)).toBe('01:59:59');
    expect(clock(gap, berlin)).toBe('03:00:00');
    expect([offset(fold - 1, berlin), offset(fold, berlin)]).toEqual([120, 60]);
    expect(clock(fold - 1000, berlin)).toBe('02:59:59');
    expect(clock(fold, berlin)).toBe('02:00:00');
  });

  it('names what is odd, and nothing else', () => {
    expect(oddity(gap, berlin)).toBe('clocks go forward 60 min');
    expect(oddity(fold, berlin)).toBe('clocks go back 60 min');
    expect(oddity(gap + 86_400_000, berlin)).toBe('');
    expect(oddity(gap, 'UTC')).toBe('');
  });

  it('knows the day of a zone', () => {
    const at = Date.parse('2026-11-24T23:30:00Z');
    expect([dayKey(at, 'UTC'), dayKey(at, berlin)]).toEqual(['2026-11-24', '2026-11-25']);
    expect(dayAndMinute(at, berlin)).toBe('Wed 25 Nov 00:30');
    expect(when(at, at + 60_000, berlin)).toBe('00:30:00');
    expect(when(at, at + 86_400_000 * 2, berlin)).toBe('25 Nov 00:30:00');
    expect(full(at, berlin)).toMatch(/Wed, 25 Nov 2026.*00:30:00 (CET|GMT\+1)/);
  });

  it('falls back to UTC for a zone the browser does not know', () => {
    expect(clock(0, 'Middle/Earth')).toBe('00:00:00');
  });
});

describe('schedules in words', () => {
  it.each([
    ['', 'by hand'], ['@daily', 'daily 00:00'], ['@every 90s', 'every 90s'], ['* * * * *', 'every minute'], ['* * * * * *', 'every second'],
    ['*/5 * * * *', 'every 5 min'], ['0 3 * * *', 'daily 03:00'], ['0 0 3 * * *', 'daily 03:00'], ['30 6,18 * * *', 'daily 06:30, 18:30'],
    ['0 6 * * 1-5', 'weekdays 06:00'], ['0 7 * * 1', 'Mondays 07:00'], ['15 */2 * * *', 'every 2 h at :15'], ['5 * * * *', 'hourly at :05'],
    ['0 4 1 * *', 'monthly on the 1. 04:00'], ['0 4 1 1 *', '0 4 1 1 *'], ['1-9/2 * * * *', '1-9/2 * * * *'], ['0 3 13 * 5', '0 3 13 * 5'],
  ])('%s is %s', (cron, text) => expect(words(cron)).toBe(text));
});

describe('the compact answer', () => {
  it('has two characters for each length', () => {
    const text = '0tM~  Utbj}#';
    const read = [0, 1, 2, 3, 4, 5].map((place) => decodeTook(text, place));
    expect(read.map((ms) => ms && Number(ms.toPrecision(3)))).toEqual([46.3, 41_200, null, 230_000, 4_120_000, 999_000_000]);
    expect(decodeTook('', 0)).toBeNull();
  });

  it('has ids that begin with a time', () => {
    expect(timeOf('0193632f-9a5b-7abc-8def-0123456789ab')).toBe(0x0193632f9a5b);
    expect(timeOf('mine')).toBeNull();
  });
});

describe('states', () => {
  it('are told worst first', () => {
    expect(worst(['successful', 'running', 'failed'])).toBe('failed');
    expect(worst([])).toBe('successful');
    expect(tally(['successful', 'failed', 'successful'])).toBe('1 failed · 2 ok');
  });
});

describe('fuzzy', () => {
  it('likes what is together and at the start of words', () => {
    const best = ['nightly_etl', 'run nightly_etl', 'sync_night'].map((text) => score(text, 'night')!);
    expect(best[0]).toBeGreaterThan(best[1]!);
    expect(score('nightly_etl', 'netl')).toBeGreaterThan(0);
    expect(score('nightly_etl', 'xyz')).toBeNull();
  });
});

describe('tracebacks', () => {
  it('tell your code from the library', () => {
    const text = 'Traceback (most recent call last):\n  File "/x/site-packages/a.py", line 1, in f\n    g()\n  File "/home/me/jobs.py", line 3, in g\n    1 / 0\nZeroDivisionError: division by zero\n';
    const read = readTraceback(text);
    expect(read.frames.map((frame) => frame.library)).toEqual([true, false]);
    expect(read.frames[1]!.code).toEqual(['1 / 0']);
    expect(read.after).toEqual(['ZeroDivisionError: division by zero']);
    expect(readTraceback('no traceback').frames).toEqual([]);
  });
});
