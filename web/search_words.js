// Which nodes a query means by their search words. Knows nothing of the front end.

/**
 * Names of the nodes that a query means, the best first: an alias that is the query, then one that begins with it,
 * then one with a word that begins with it; among equals, the node that has it earlier among its words.
 *
 * @param aliases Map of node names to lists of search words.
 */
export function byAlias(query, aliases) {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return [];
  const best = (words) => Math.min(...words.map((alias, place) => rank(wanted, alias) + place / 1000));
  const ranked = [...aliases].map(([name, words]) => [name, best(words)]);
  return ranked
    .filter(([, rank]) => rank < Infinity)
    .sort(([, a], [, b]) => a - b)
    .map(([name]) => name);
}

function rank(wanted, alias) {
  const given = alias.toLowerCase();
  if (given === wanted) return 0;
  if (given.startsWith(wanted)) return 1;
  return given.includes(` ${wanted}`) ? 2 : Infinity;
}

/** How many of the nodes at the beginning have the query in their names: others come after them. */
export function placeOf(query, found) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const names = found.map((node) => `${node.name} ${node.display_name}`.toLowerCase());
  const first = names.findIndex((name) => !words.every((word) => name.includes(word)));
  return first < 0 ? found.length : first;
}
