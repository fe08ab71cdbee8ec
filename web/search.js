// Search words of the pack's nodes.
//
// Front ends before search aliases (ComfyUI 0.3.75) know only the names of nodes; for them the pack's schemas leave the
// words in the options of a node's first input. Later ones list every node with a fitting alias after those with a
// fitting name, short names first. In both, the pack's nodes come right behind the fitting names, best alias first.

import { app } from "../../scripts/app.js";
import { byAlias, placeOf } from "./search_words.js";

const aliases = new Map(); // name of a node -> its search words

function aliasesOf({ input, search_aliases: known }) {
  const inputs = [input?.required, input?.optional].flatMap((some) => Object.values(some ?? {}));
  return known ?? inputs.find(([, options]) => options?.search_aliases)?.[1].search_aliases;
}

function extend(service) {
  const { searchNode } = service;
  service.searchNode = function (query, filters = [], options = {}, further = {}) {
    const { limit, ...rest } = options;
    const found = searchNode.call(this, query, filters, rest, further);
    const named = found.slice(0, placeOf(query, found));
    const all = searchNode.call(this, "", filters, {}, further);
    const ours = byAlias(query, aliases).map((name) => all.find((node) => node.name === name));
    const ordered = [...new Set([...named, ...ours.filter(Boolean), ...found])];
    return limit ? ordered.slice(0, limit) : ordered;
  };
}

app.registerExtension({
  name: "iqaadapter.search",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name.startsWith("IQA")) aliases.set(nodeData.name, aliasesOf(nodeData) ?? []);
  },
  setup() {
    // stores are reached through the one that extensions are given
    const service = app.extensionManager._p?._s.get("nodeDef")?.nodeSearchService;
    if (service) extend(Object.getPrototypeOf(service));
  },
});
