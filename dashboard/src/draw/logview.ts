/**
 * A log in the page: blocks of 200 lines, which the browser skips while they are off screen (`content-visibility`). All
 * text is there as text, so that selecting, copying, finding and Page Down are the browser's own. Each line is an element;
 * what stands beside it is made by the style sheet: its number is counted, its time is an attribute. Job output goes into
 * text nodes only.
 */

import { isError, isPlain, pieces, strip } from './ansi';

const BLOCK = 200;
const LONG = 8_192;
const LINE = 19;

/** From a line on until the next mark: when the lines came, and whether they are of standard error. */
export type Mark = readonly [line: number, time: string, stderr: boolean];

export class LogView {
  lines = 0;
  /** Lines that read like trouble. */
  errors = 0;
  /** The number of the first line. */
  first = 1;
  /** In order. Set before the lines are added. */
  marks: Mark[] = [];
  #last: HTMLElement | null = null;
  #open = ''; // the line that has not ended yet
  #openNode: HTMLElement | null = null;

  constructor(readonly root: HTMLElement) {}

  clear(first: number): void {
    this.root.replaceChildren();
    this.marks = [];
    this.lines = this.errors = 0;
    this.first = first;
    this.#last = this.#openNode = null;
    this.#open = '';
  }

  /** The number that the next line gets that begins. */
  get next(): number {
    return this.first + this.lines + (this.#open ? 1 : 0);
  }

  /** Add what came. A line without its end is shown, and grows. */
  append(text: string): void {
    if (!text) return;
    const lines = (this.#open + text).split('\n');
    this.#openNode?.remove();
    this.#openNode = null;
    this.#open = lines.pop()!;
    while (lines.length) {
      const block = this.#room();
      const some = lines.splice(0, BLOCK - block.childElementCount);
      this.#fill(block, some);
      this.lines += some.length;
    }
    if (!this.#open) return;
    const errors = this.errors;
    this.#fill(this.#room(), [this.#open]);
    this.errors = errors; // told once it has ended
    this.#openNode = this.#last!.lastElementChild as HTMLElement;
  }

  /** Put whole lines before all others. */
  prepend(text: string): void {
    const lines = text.split('\n');
    if (lines.at(-1) === '') lines.pop();
    this.first -= lines.length;
    this.lines += lines.length;
    const blocks: HTMLElement[] = [];
    for (let i = 0; i < lines.length; i += BLOCK) {
      const block = newBlock(this.first + i);
      this.#fill(block, lines.slice(i, i + BLOCK));
      blocks.push(block);
    }
    this.root.prepend(...blocks);
  }

  /** Say something between two lines, or before all. */
  remark(text: string, where: 'append' | 'prepend'): void {
    const note = document.createElement('p');
    note.className = 'log-note';
    note.textContent = text;
    this.root[where](note);
    if (where === 'append') this.#last = null;
  }

  /** A line by its number; null if it is not here. */
  line(number: number): Element | null {
    for (const block of this.root.querySelectorAll<HTMLElement>('.log-block')) {
      const found = block.children[number - Number(block.dataset.first)];
      if (found) return found;
    }
    return null;
  }

  /** The number of a line. */
  numberOf(line: Element): number {
    const block = line.parentElement!;
    return Number(block.dataset.first) + [...block.children].indexOf(line);
  }

  /** The element of the first line that reads like trouble. */
  firstError(): Element | null {
    return this.root.querySelector('.log-error');
  }

  /** The text as it is shown. */
  text(): string {
    return Array.from(this.root.querySelectorAll('.log-block'), (block) => block.textContent).join('');
  }

  /** The block that the next line goes into. */
  #room(): HTMLElement {
    if (!this.#last || this.#last.childElementCount >= BLOCK) this.root.append((this.#last = newBlock(this.first + this.lines)));
    return this.#last;
  }

  #fill(block: HTMLElement, lines: readonly string[]): void {
    let number = Number(block.dataset.first) + block.childElementCount;
    let mark = this.marks.findLastIndex(([line]) => line <= number);
    block.append(
      ...lines.map((text) => {
        while ((this.marks[mark + 1]?.[0] ?? Infinity) <= number) mark++;
        number++;
        const bad = isError(text);
        if (bad) this.errors++;
        return newLine(text, bad, this.marks[mark]);
      }),
    );
    block.style.setProperty('contain-intrinsic-block-size', `auto ${block.childElementCount * LINE}px`);
  }
}

function newBlock(first: number): HTMLElement {
  const block = document.createElement('div');
  block.className = 'log-block';
  block.dataset.first = String(first);
  block.style.setProperty('counter-reset', `line ${first - 1}`);
  return block;
}

function newLine(text: string, bad: boolean, mark: Mark | undefined): HTMLElement {
  const line = document.createElement('div');
  if (mark) line.setAttribute('data-time', mark[1]);
  if (bad) line.className = 'log-error';
  if (mark?.[2]) line.classList.add('log-stderr');
  if (text.length > LONG || !isPlain(text)) {
    write(line, text);
    line.append('\n');
  } else line.textContent = text + '\n';
  return line;
}

function write(target: HTMLElement, line: string): void {
  const long = line.length > LONG;
  for (const piece of pieces(long ? line.slice(0, LONG) : line)) {
    if (!piece.look && !piece.color && !piece.background) {
      target.append(piece.text);
      continue;
    }
    const span = document.createElement('span');
    span.className = piece.look;
    if (piece.color) span.style.setProperty('color', piece.color);
    if (piece.background) span.style.setProperty('background-color', piece.background);
    span.append(piece.text);
    target.append(span);
  }
  if (long) {
    const more = document.createElement('button');
    more.className = 'button small';
    more.textContent = `… ${line.length - LONG} more characters`;
    more.addEventListener('click', () => more.replaceWith(strip(line.slice(LONG))));
    target.append(more);
  }
}
