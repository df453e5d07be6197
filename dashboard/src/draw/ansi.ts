/** Terminal colours to classes. What else a terminal would do (move, clear, ring, name its window) is taken out. */

export interface Piece {
  text: string;
  /** Classes, empty for plain text. */
  look: string;
  /** Colours beyond the sixteen, as CSS colours. */
  color?: string;
  background?: string;
}

// CSI … final byte; OSC … BEL or ST; other two-byte escapes; control characters but tab.
// eslint-disable-next-line no-control-regex
const ESCAPE = /\u001b\[([0-9;:?<=>!]*)[ -/]*([@-~])|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[PX^_][^\u001b]*(?:\u001b\\)?|\u001b[ -/]*[0-~]?|[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f]/g;
const ANY = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

type Ground = [look: string, color?: string];

interface Style {
  f: Ground;
  b: Ground;
  looks: Set<string>;
}

const LOOKS: Record<number, string> = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline', 7: 'inverse', 9: 'strike' };
const SIDES: Record<number, 'f' | 'b'> = { 3: 'f', 9: 'f', 4: 'b', 10: 'b' }; // by the code's tens; 90 and 100 on are bright

const fresh = (): Style => ({ f: [''], b: [''], looks: new Set() });

/** Whether a line needs more than to be shown as it is. */
export const isPlain = (line: string): boolean => !ANY.test(line);

/** A line without any escapes. */
export const strip = (line: string): string => (isPlain(line) ? line : overwritten(line).replace(ESCAPE, ''));

/** What a terminal shows of a line in which carriage returns go back to its start: progress bars do. */
function overwritten(line: string): string {
  const bare = line.endsWith('\r') ? line.slice(0, -1) : line;
  const back = bare.lastIndexOf('\r');
  return back < 0 ? bare : bare.slice(back + 1);
}

/** A line as pieces of one look each. Styles do not run on to the next line. */
export function pieces(line: string): Piece[] {
  if (isPlain(line)) return [{ text: line, look: '' }];
  const text = overwritten(line);
  const found: Piece[] = [];
  const style = fresh();
  let at = 0;
  for (const match of text.matchAll(ESCAPE)) {
    if (match.index > at) found.push(piece(text.slice(at, match.index), style));
    at = match.index + match[0].length;
    if (match[2] === 'm') applyCodes(style, match[1] ?? '');
  }
  if (at < text.length) found.push(piece(text.slice(at), style));
  return found.length ? found : [{ text: '', look: '' }];
}

function applyCodes(style: Style, text: string): void {
  const codes = text.split(/[;:]/).map((code) => Number(code || 0));
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!;
    const digit = code % 10;
    const side = SIDES[Math.floor(code / 10)];
    if (code === 0) Object.assign(style, fresh());
    else if (LOOKS[code]) style.looks.add(LOOKS[code]);
    else if (code > 21 && code < 30) {
      style.looks.delete(LOOKS[digit]!);
      if (digit === 2) style.looks.delete('bold');
    } else if (!side) continue;
    else if (digit < 8) style[side] = [side + digit];
    else if (code > 50) continue;
    else if (digit === 9) style[side] = [''];
    else if (codes[i + 1] === 5) {
      const number = codes[i + 2] ?? 0;
      style[side] = number < 16 ? [side + (number % 8)] : ['', indexed(number)];
      i += 2;
    } else if (codes[i + 1] === 2) {
      style[side] = ['', rgb(codes[i + 2], codes[i + 3], codes[i + 4])];
      i += 4;
    }
  }
}

const rgb = (...parts: (number | undefined)[]): string =>
  `rgb(${parts.map((part) => Math.min(255, Math.max(0, Math.trunc(part ?? 0)))).join(' ')})`;

function indexed(number: number): string {
  if (number >= 232) {
    const grey = 8 + (Math.min(255, number) - 232) * 10;
    return rgb(grey, grey, grey);
  }
  const level = (value: number) => (value ? 55 + value * 40 : 0);
  const cube = number - 16;
  return rgb(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

function piece(text: string, style: Style): Piece {
  const looks = [style.f[0], style.b[0], ...style.looks];
  const made: Piece = { text, look: looks.filter(Boolean).map((name) => `a-${name}`).join(' ') };
  if (style.f[1]) made.color = style.f[1];
  if (style.b[1]) made.background = style.b[1];
  return made;
}

const ERROR = /\b(error|exception|fatal|panic|traceback|failed|critical)\b/i;
const TYPE = /^(\w+\.)*\w*(Error|Exception)\b/;
const NO_ERROR = /\b(0|no) (errors?|failed|failures?)\b|errors?[=:] ?0\b/i;

/** Whether a line reads like trouble. */
export const isError = (line: string): boolean => (ERROR.test(line) || TYPE.test(line)) && !NO_ERROR.test(line);
