/** Tracebacks, read: whose code a frame is in. */

export interface Frame {
  head: string;
  code: string[];
  /** Whether it is in a library, in Python's own code, or in the engine. */
  library: boolean;
}

export interface Traceback {
  before: string[];
  frames: Frame[];
  after: string[];
}

const LIBRARY = /(site-packages|dist-packages|[/\\]lib[/\\]python\d|goflow_trio[/\\](actors|operators|executors)|<frozen )/;

/** A Python traceback in its frames; what is none stays text. */
export function readTraceback(text: string): Traceback {
  const lines = text.replace(/\n$/, '').split('\n');
  const result: Traceback = { before: [], frames: [], after: [] };
  let place: 'before' | 'frames' | 'after' = 'before';
  for (const line of lines) {
    const frame = /^ {2}File "(.+)", line \d+/.exec(line);
    if (frame && place !== 'after') {
      place = 'frames';
      result.frames.push({ head: line.trim(), code: [], library: LIBRARY.test(frame[1]!) });
    } else if (place === 'frames' && /^ {4}/.test(line)) result.frames.at(-1)!.code.push(line.slice(4));
    else {
      if (place === 'frames') place = 'after';
      result[place === 'after' ? 'after' : 'before'].push(line);
    }
  }
  return result;
}
