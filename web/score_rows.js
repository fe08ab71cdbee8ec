// Scores of Score Images as rows to show. Knows nothing of the front end.

import { clamp } from "./percentiles.js";

/**
 * A row per picture and metric.
 *
 * @param scores {metric: [raw score of each picture or null]}.
 * @param meanings [{name, higher_is_better, low, high, better_than: [per picture, or null]}], as Score Images sends them:
 *   `better_than` is in per cent of the reference pictures, `low` and `high` are the range of the raw score or null.
 * @returns [{metric, better: true where higher is better, rows: [{picture, raw, share, rank}]}]: `share` of the bar
 *   that is filled, 0...1 with 1 for best, null where nothing is known; `rank` in per cent or null.
 */
export function scoreRows(scores, meanings = []) {
  return Object.entries(scores).map(([metric, values]) => {
    const meaning = meanings.find(({ name }) => name === metric) ?? {};
    const better = meaning.higher_is_better ?? true;
    const rows = values.map((raw, index) => {
      const rank = meaning.better_than?.[index] ?? null;
      return { picture: index + 1, raw, rank, share: rank === null ? within(raw, meaning, better) : clamp(rank) / 100 };
    });
    return { metric, better, rows };
  });
}

function within(raw, { low = null, high = null }, better) {
  if (raw === null || low === null || high === null) return null;
  const share = clamp((100 * (raw - low)) / (high - low)) / 100;
  return better ? share : 1 - share;
}

/** A raw score in at most four digits. */
export function shortly(raw) {
  return raw === null ? "-" : String(Number(raw.toPrecision(4)));
}
