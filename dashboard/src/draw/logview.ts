/**
 * A log in the page: blocks of 200 lines, which the browser skips while they are off screen (`content-visibility`). All
 * text is there as text, so that selecting, copying, finding and Page Down are the browser's own. Job output goes into
 * text nodes only.
 */

import { isError, isPlain, pieces, strip } from './ansi';

const BLOCK = 200;
const LONG = 8_192;
const LINE = 19;

export class LogView {
  lines = 0;
  /** Lines that read like trouble. */
  errors = 0;
  /** The number of the first line. */
  first = 1;
  /** What stands beside lines, from each line on until the next, in order. Set before the lines are added. */
  marks: (readonly [line: number, text: string])[] = [];
  #last: HTMLElement | null = null;
  #inLast = 0;
  #open = ''; // the line that has not ended yet
  #openNode: HTMLElement | null = null;

  constructor(readonly root: HTMLElement) {}

  clear(first: number): void {
    this.root.replaceChildren();
    this.marks = [];
    this.lines = this.errors = this.#inLast = 0;
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
    const parts = (this.#open + text).split('\n');
    if (this.#openNode) {
      this.#openNode.remove();
      this.#openNode = null;
    }
    this.#open = parts.pop()!;
    for (let i = 0; i < parts.length; ) {
      if (!this.#last || this.#inLast === BLOCK) this.#newBlock();
      const some = parts.slice(i, i + BLOCK - this.#inLast);
      this.#fill(this.#last!, some);
      this.#inLast += some.length;
      this.lines += some.length;
      i += some.length;
    }
    if (this.#open) {
      this.#openNode = document.createElement('pre');
      this.#openNode.className = 'log-open';
      writeLine(this.#openNode, this.#open, false);
      this.root.append(this.#openNode);
    }
  }

  /** Put whole lines before all others. */
  prepend(text: string): void {
    const parts = text.split('\n');
    if (parts.at(-1) === '') parts.pop();
    if (!parts.length) return;
    this.first -= parts.length;
    const blocks = document.createDocumentFragment();
    for (let i = 0; i < parts.length; i += BLOCK) {
      const block = newBlock(this.first + i);
      this.#fill(block, parts.slice(i, i + BLOCK));
      blocks.append(block);
    }
    this.lines += parts.length;
    this.root.prepend(blocks);
  }

  /** Say something between two lines, or before all. */
  remark(text: string, where: 'append' | 'prepend'): void {
    const note = document.createElement('p');
    note.className = 'log-note';
    note.textContent = text;
    this.root[where](note);
    if (where === 'append') this.#last = null;
  }

  /** The text of a line by its number; null if it is not here. */
  range(line: number): Range | null {
    for (const block of this.root.querySelectorAll<HTMLElement>('.log-block')) {
      let skip = line - Number(block.dataset.first);
      if (skip < 0 || skip >= Number(block.dataset.count)) continue;
      const found = document.createRange();
      const nodes = document.createTreeWalker(block.lastElementChild!, NodeFilter.SHOW_TEXT);
      for (let begun = false; nodes.nextNode(); ) {
        const node = nodes.currentNode as Text;
        let at = 0;
        while (skip && (at = node.data.indexOf('\n', at) + 1)) skip--;
        if (skip) continue;
        if (!begun) found.setStart(node, at);
        begun = true;
        const end = node.data.indexOf('\n', at);
        found.setEnd(node, end < 0 ? node.length : end);
        if (end >= 0) break;
      }
      return found;
    }
    return null;
  }

  /** The number of the line whose number stands at a height of the window; null if there is none. */
  lineAt(numbers: Element, y: number): number | null {
    const { first, count } = (numbers.parentElement as HTMLElement).dataset;
    const place = Math.floor((y - numbers.getBoundingClientRect().top) / LINE);
    return place >= 0 && place < Number(count) ? Number(first) + place : null;
  }

  /** The element of the first line that reads like trouble. */
  firstError(): Element | null {
    return this.root.querySelector('.log-error');
  }

  /** The text as it is shown. */
  text(): string {
    return Array.from(this.root.querySelectorAll('.log-text, .log-open'), (node) => node.textContent).join('');
  }

  #newBlock(): void {
    this.#last = newBlock(this.first + this.lines);
    this.#inLast = 0;
    this.root.append(this.#last);
  }

  #fill(block: HTMLElement, lines: readonly string[]): void {
    const text = block.lastElementChild as HTMLElement;
    const from = Number(block.dataset.first) + Number(block.dataset.count ?? 0);
    block.firstElementChild!.append(lines.map((_, i) => `${from + i}\n`).join(''));
    block.children[1]!.append(lines.map((_, i) => beside(this.marks, from + i) + '\n').join(''));
    const count = Number(block.dataset.count ?? 0) + lines.length;
    block.dataset.count = String(count);
    block.style.setProperty('contain-intrinsic-size', `auto ${count * LINE}px`);
    let plain = '';
    for (const line of lines) {
      const bad = isError(line);
      if (!bad && line.length <= LONG && isPlain(line)) {
        plain += line + '\n';
        continue;
      }
      if (plain) text.append(plain);
      plain = '';
      if (bad) this.errors++;
      writeLine(text, line, bad);
      text.append('\n');
    }
    if (plain) text.append(plain);
  }
}

/** What stands beside a line. */
export const beside = (marks: LogView['marks'], line: number): string => marks.findLast(([from]) => from <= line)?.[1] ?? '';

function newBlock(first: number): HTMLElement {
  const block = document.createElement('div');
  block.className = 'log-block';
  for (const name of ['numbers', 'times', 'text']) {
    const column = document.createElement('pre');
    column.className = `log-${name}`;
    column.ariaHidden = name === 'text' ? null : 'true';
    block.append(column);
  }
  block.dataset.first = String(first);
  return block;
}

function writeLine(parent: HTMLElement, line: string, bad: boolean): void {
  const target = document.createElement('span');
  if (bad) target.className = 'log-error';
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
  parent.append(target);
}
