/** How well a text fits what was typed: the letters in order, better together and at the start of words. Pure. */

/** A score, higher is better; null if the letters are not all there in this order. */
export function score(text: string, typed: string): number | null {
  const hay = text.toLowerCase();
  const needle = typed.toLowerCase().trim();
  if (!needle) return 0;
  const straight = hay.indexOf(needle);
  if (straight >= 0) return 1000 - straight - hay.length / 100 + (straight === 0 || /[^a-z0-9]/.test(hay[straight - 1]!) ? 200 : 0);
  let at = -1;
  let total = 0;
  for (const letter of needle) {
    if (letter === ' ') continue;
    const next = hay.indexOf(letter, at + 1);
    if (next < 0) return null;
    total += next === at + 1 ? 12 : next === 0 || /[^a-z0-9]/.test(hay[next - 1]!) ? 10 : 1;
    at = next;
  }
  return total - hay.length / 100;
}
