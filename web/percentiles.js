// Percentiles as words, colours, and places on the quality pad. Knows nothing of ComfyUI.

export const LOWEST = 0;
export const HIGHEST = 100;

/** Percentiles of the presets of Quality (simple), for both axes. */
export const PRESETS = { best: 99, good: 75, average: 50, poor: 25, worst: 1 };

const WORDS = [
  [10, "very poor"],
  [35, "poor"],
  [65, "average"],
  [90, "good"],
];

/** Word for a picture that is better than `percentile` per cent of the others. */
export function word(percentile) {
  return WORDS.find(([below]) => percentile < below)?.[1] ?? "very good";
}

/** Red for 0, amber for 50, green for 100; readable on dark and on light. */
export function colour(percentile) {
  return `hsl(${Math.round(clamp(percentile) * 1.2)} 55% 48%)`;
}

export function clamp(percentile) {
  return Math.min(HIGHEST, Math.max(LOWEST, percentile));
}

/** Whole percentiles of a place in a square of `side` pixels: aesthetics to the right, quality upwards. */
export function fromPlace(x, y, side) {
  return { quality: clamp(Math.round(100 - (100 * y) / side)), aesthetics: clamp(Math.round((100 * x) / side)) };
}

/** Place of percentiles in a square, as shares of its side from the left and from the top. */
export function toPlace({ quality, aesthetics }) {
  return { left: clamp(aesthetics) / 100, top: 1 - clamp(quality) / 100 };
}

const MOVES = {
  ArrowUp: ["quality", 1],
  ArrowDown: ["quality", -1],
  ArrowRight: ["aesthetics", 1],
  ArrowLeft: ["aesthetics", -1],
  PageUp: ["quality", 10],
  PageDown: ["quality", -10],
};

/** Percentiles after a key, ten times as far with shift; null for keys that mean nothing here. */
export function afterKey(key, shift, percentiles) {
  if (key === "Home") return { quality: LOWEST, aesthetics: LOWEST };
  if (key === "End") return { quality: HIGHEST, aesthetics: HIGHEST };
  if (!(key in MOVES)) return null;
  const [axis, step] = MOVES[key];
  const far = shift && Math.abs(step) === 1 ? 10 : 1;
  return { ...percentiles, [axis]: clamp(percentiles[axis] + far * step) };
}
