/** The colours of states: readable on both surfaces, and told apart with every colour vision. */
import { describe, expect, it } from 'vitest';
import css from '../src/css/tokens.css?raw';
import { STATES } from '../src/model/states';

type Rgb = [number, number, number];

function token(name: string, theme: 0 | 1): Rgb {
  const found = new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`).exec(css);
  if (!found) throw new Error(`no token ${name}`);
  const hex = found[1 + theme]!;
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255) as Rgb;
}

const linear = (value: number): number => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const luminance = (color: Rgb): number => {
  const [r, g, b] = color.map(linear) as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
function contrast(a: Rgb, b: Rgb): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

// Machado, Oliveira, Fernandes (2009), severity 1, on linear RGB.
const VISION: Record<string, number[][]> = {
  normal: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

function oklab(color: Rgb, matrix: number[][]): Rgb {
  const raw = color.map(linear) as Rgb;
  const [r, g, b] = matrix.map((row) => Math.min(1, Math.max(0, row[0]! * raw[0] + row[1]! * raw[1] + row[2]! * raw[2]))) as Rgb;
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}
const distance = (a: Rgb, b: Rgb): number => 100 * Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

describe.each([['light', 0], ['dark', 1]] as const)('%s', (_, theme) => {
  it.each([...STATES])('%s is seen on both surfaces, and its word is read', (state) => {
    for (const surface of ['surface', 'raised']) {
      expect(contrast(token(state, theme), token(surface, theme))).toBeGreaterThan(2.9);
      expect(contrast(token(`${state}-ink`, theme), token(surface, theme))).toBeGreaterThanOrEqual(4.5);
    }
  });

  it.each(['ink', 'ink-soft', 'accent'])('%s is read on every surface', (name) => {
    for (const surface of ['surface', 'raised']) expect(contrast(token(name, theme), token(surface, theme))).toBeGreaterThanOrEqual(4.5);
  });

  it.each(Object.keys(VISION))('states are told apart with %s vision', (vision) => {
    const seen = STATES.map((state) => oklab(token(state, theme), VISION[vision]!));
    for (let i = 0; i < seen.length; i++) {
      for (let j = 0; j < i; j++) expect(distance(seen[i]!, seen[j]!), `${STATES[i]} and ${STATES[j]}`).toBeGreaterThan(7.5);
    }
    const [good, bad] = [STATES.indexOf('successful'), STATES.indexOf('failed')];
    expect(distance(seen[good]!, seen[bad]!)).toBeGreaterThan(15);
  });
});

it.each([0, 1] as const)('words are readable on the slowest task of a graph, theme %i', (theme) => {
  const surface = token('surface', theme);
  const fill = token('upforretry', theme).map((value, i) => 0.22 * value + 0.78 * surface[i]!) as Rgb;
  expect(contrast(token('ink-soft', theme), fill)).toBeGreaterThanOrEqual(4.5);
});
