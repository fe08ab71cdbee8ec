// What nodes have to show after a run survives tab switches, reloads and runs in the background.
//
// A node keeps its result among its properties, which the workflow stores. When a workflow comes back, newer results
// are looked for where ComfyUI has them: in the record of the workflow's tab, and else in the server's history.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { after } from "./panel.js";
import { newestRun } from "./history.js";

const PROPERTY = "iqaadapter_result";
const RUNS = 32; // of the history that are looked through
const watched = new WeakMap(); // node -> {keys, show}

/**
 * Call `show(result)` whenever a node has a result, also an old one of a workflow that is opened.
 *
 * @param keys of the node's `ui` output that are kept; other outputs, such as pictures of a preview, are ComfyUI's.
 */
export function showResults(node, keys, show) {
  watched.set(node, { keys, show });
  after(node, "onExecuted", (output) => {
    // when ComfyUI, too, has noted whose it is
    queueMicrotask(() => isOfAnotherTab(output) || keep(node, output));
  });
  after(node, "onConfigure", () => node.properties?.[PROPERTY] && show(node.properties[PROPERTY]));
}

function keep(node, output) {
  const { keys, show } = watched.get(node);
  const result = Object.fromEntries(keys.filter((key) => output?.[key]).map((key) => [key, output[key]]));
  if (!Object.keys(result).length) return;
  node.properties[PROPERTY] = result;
  show(result);
}

/** ComfyUI hands a result to whatever node of the open workflow has the number, also where another tab ran. */
function isOfAnotherTab(output) {
  const { openWorkflows, activeWorkflow } = app.extensionManager.workflow;
  const outputs = (workflow) => Object.values(workflow?.changeTracker?.nodeOutputs ?? {});
  const isOf = (workflow) => outputs(workflow).includes(output);
  return !isOf(activeWorkflow) && openWorkflows.some(isOf);
}

/** Nodes of a graph and of its subgraphs: [number in a prompt, node]. */
function* numbered(graph, before = "") {
  for (const node of graph._nodes) {
    yield [`${before}${node.id}`, node];
    if (node.subgraph) yield* numbered(node.subgraph, `${before}${node.id}:`);
  }
}

function restore(outputs, isRight = () => true) {
  for (const [number, node] of numbered(app.graph.rootGraph ?? app.graph)) {
    if (watched.has(node) && outputs[number] && isRight(number, node)) keep(node, outputs[number]);
  }
}

async function readHistory() {
  const answer = await api.fetchApi(`/history?max_items=${RUNS}`);
  return answer.ok ? answer.json() : {};
}

/** A run can end before ComfyUI has noted whose it is; then, too, the history has what the tab's record lacks. */
async function restoreAll() {
  const tab = app.extensionManager.workflow.activeWorkflow;
  const own = tab?.changeTracker?.nodeOutputs ?? {};
  restore(own);
  const graph = app.graph.rootGraph ?? app.graph;
  if (![...numbered(graph)].some(([number, node]) => watched.has(node) && !own[number])) return;
  const run = newestRun(await readHistory(), graph.id);
  if (!run || app.extensionManager.workflow.activeWorkflow !== tab) return;
  restore(run.outputs, (number, node) => !own[number] && run.prompt[2][number]?.class_type === node.comfyClass);
}

app.registerExtension({
  name: "iqaadapter.results",
  setup() {
    app.extensionManager.workflow.$onAction(({ name, after: done }) => {
      if (name === "openWorkflow") done(() => restoreAll());
    });
  },
});
