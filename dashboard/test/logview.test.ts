import { expect, it } from 'vitest';
import { beside } from '../src/draw/logview';

it.each([[1, ''], [3, 'a'], [6, 'a'], [7, 'b'], [900, 'b']])('beside line %i stands %j', (line, text) =>
  expect(beside([[3, 'a'], [7, 'b']], line)).toBe(text));
