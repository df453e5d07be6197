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

interface Style {
  fg: string;
  bg: string;
  color: string | undefined;
  background: string | undefined;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  strike: boolean;
  inverse: boolean;
}

const fresh = (): Style => ({
  fg: '', bg: '', color: undefined, background: undefined,
  bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false,
});

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
    if (code === 0) Object.assign(style, fresh());
    else if (code === 1) style.bold = true;
    else if (code === 2) style.dim = true;
    else if (code === 3) style.italic = true;
    else if (code === 4) style.underline = true;
    else if (code === 7) style.inverse = true;
    else if (code === 9) style.strike = true;
    else if (code === 22) style.bold = style.dim = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.underline = false;
    else if (code === 27) style.inverse = false;
    else if (code === 29) style.strike = false;
    else if (code >= 30 && code <= 37) [style.fg, style.color] = [`f${code - 30}`, undefined];
    else if (code >= 90 && code <= 97) [style.fg, style.color] = [`f${code - 90}`, undefined];
    else if (code >= 40 && code <= 47) [style.bg, style.background] = [`b${code - 40}`, undefined];
    else if (code >= 100 && code <= 107) [style.bg, style.background] = [`b${code - 100}`, undefined];
    else if (code === 39) [style.fg, style.color] = ['', undefined];
    else if (code === 49) [style.bg, style.background] = ['', undefined];
    else if (code === 38 || code === 48) {
      const mode = codes[i + 1];
      let named = '';
      let color: string | undefined;
      if (mode === 5) {
        const number = codes[i + 2] ?? 0;
        if (number < 16) named = (code === 38 ? 'f' : 'b') + (number % 8);
        else color = indexed(number);
        i += 2;
      } else if (mode === 2) {
        color = rgb(codes[i + 2], codes[i + 3], codes[i + 4]);
        i += 4;
      } else continue;
      if (code === 38) [style.fg, style.color] = [named, color];
      else [style.bg, style.background] = [named, color];
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
  const looks = [style.fg, style.bg];
  for (const name of ['bold', 'dim', 'italic', 'underline', 'strike', 'inverse'] as const) if (style[name]) looks.push(name);
  const made: Piece = { text, look: looks.filter(Boolean).map((name) => `a-${name}`).join(' ') };
  if (style.color) made.color = style.color;
  if (style.background) made.background = style.background;
  return made;
}

const ERROR = /\b(error|exception|fatal|panic|traceback|failed|critical)\b/i;
const TYPE = /^(\w+\.)*\w*(Error|Exception)\b/;
const NO_ERROR = /\b(0|no) (errors?|failed|failures?)\b|errors?[=:] ?0\b/i;

/** Whether a line reads like trouble. */
export const isError = (line: string): boolean => (ERROR.test(line) || TYPE.test(line)) && !NO_ERROR.test(line);
