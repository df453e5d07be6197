import { describe, expect, it } from 'vitest';
import { isError, pieces, strip } from '../src/draw/ansi';
import { random } from './random';

describe('terminal colours', () => {
  it('become classes', () => {
    expect(pieces('a \u001b[1;31mb\u001b[0m c')).toEqual([
      { text: 'a ', look: '' }, { text: 'b', look: 'a-f1 a-bold' }, { text: ' c', look: '' },
    ]);
    const after = (codes: string): string => pieces(`\u001b[1;2;3;31;44;${codes}mx`)[0]!.look;
    expect([after('22'), after('23;39'), after('49'), after('21;98'), after('38'), after('0')]).toEqual([
      'a-f1 a-b4 a-italic', 'a-b4 a-bold a-dim', 'a-f1 a-bold a-dim a-italic', 'a-f1 a-b4 a-bold a-dim a-italic', 'a-f1 a-b4 a-bold a-dim a-italic', '',
    ]);
    expect(pieces('\u001b[92;44mx')[0]!.look).toBe('a-f2 a-b4');
    expect(pieces('\u001b[38;5;9mx')[0]!.look).toBe('a-f1');
  });

  it('beyond sixteen become colours', () => {
    expect(pieces('\u001b[38;5;208mx')[0]!.color).toBe('rgb(255 135 0)');
    expect(pieces('\u001b[48;5;232mx')[0]!.background).toBe('rgb(8 8 8)');
    expect(pieces('\u001b[38;2;1;2;300mx')[0]!.color).toBe('rgb(1 2 255)');
  });

  it('are the only escapes that do anything', () => {
    expect(strip('\u001b]0;title\u0007a\u001b[2Kb\u001b[10;5Hc\u0007d\u001bMe\u009bf')).toBe('abcdef');
    expect(strip('10%\r50%\rdone')).toBe('done');
    expect(strip('windows\r')).toBe('windows');
  });

  it('never let an escape through, whatever comes', () => {
    const next = random(3);
    for (let i = 0; i < 3000; i++) {
      const text = Array.from({ length: 24 }, () => String.fromCharCode(next() < 0.3 ? 27 : next() < 0.3 ? 91 : 32 + next() * 120)).join('');
      // eslint-disable-next-line no-control-regex
      expect(strip(text)).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
      expect(pieces(text).map((piece) => piece.text).join('')).toBe(strip(text));
    }
  });
});

it.each([
  ['psycopg.OperationalError: gone', true], ['ERROR  bad', true], ['Traceback (most recent call last):', true], ['0 errors', false],
  ['no failures', false], ['terror', false], ['all fine', false],
])('%s reads like trouble: %s', (line, bad) => expect(isError(line)).toBe(bad));
