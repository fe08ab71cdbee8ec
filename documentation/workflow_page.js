// What workflow_page.py does in the front end: nodes and links as described, their sizes in either view, the saved forms.

export const TITLE = 30; // pixels of a node's title bar

const soon = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function setValue(node, name, value) {
  const widget = node.widgets?.find((each) => each.name === name);
  if (!widget) throw new Error(`${node.title} (${node.type}) has no input ${name}.`);
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
}

function connect(node, name, { node: index, output }, nodes) {
  const from = nodes[index];
  const slot = typeof output === "number" ? output : from.outputs.findIndex((each) => each.name === output);
  if (!from.outputs[slot]) throw new Error(`${from.title} (${from.type}) has no output ${output}.`);
  const target = node.inputs.findIndex((each) => each.name === name);
  if (target < 0) throw new Error(`${node.title} (${node.type}) has no input ${name}.`);
  if (!from.connect(slot, node, target)) {
    throw new Error(`${node.title} (${node.type}) does not take ${output} of ${from.title} as ${name}.`);
  }
}

/** A new graph of the described nodes; their numbers are 1, 2, ... */
export async function build(described) {
  // in a tab of its own: pictures on nodes are kept by the nodes' numbers
  await app.extensionManager.command.execute("Comfy.NewBlankWorkflow");
  await wait(300);
  app.graph.clear();
  const nodes = described.map(({ type, title, models }) => {
    const node = LiteGraph.createNode(type);
    if (!node) throw new Error(`There is no node ${type}.`);
    if (node.constructor.nodeData?.deprecated) throw new Error(`The node ${type} is deprecated.`);
    if (title) node.title = title;
    app.graph.add(node);
    if (models.length) node.properties.models = models;
    return node;
  });
  described.forEach(({ inputs }, index) => {
    for (const [name, given] of Object.entries(inputs)) {
      const node = nodes[index];
      const text = node.type === "MarkdownNote";
      if ("value" in given) setValue(node, text ? node.widgets[0].name : name, given.value);
      else connect(node, name, given, nodes);
    }
    const after = nodes[index].widgets?.find(({ name }) => name === "control_after_generate");
    if (after && !("control_after_generate" in inputs)) after.value = "fixed";
  });
  await soon();
}

/** Put every node where `boxes` says: [x, y, width, height] without the title bar, in the order of their numbers. */
export async function place(boxes, groups = []) {
  app.graph._nodes.sort((a, b) => a.id - b.id).forEach((node, index) => {
    const [x, y, width, height] = boxes[index];
    node.pos = [x, y];
    node.setSize([width, height]);
  });
  for (const group of [...app.graph._groups]) app.graph.remove(group);
  for (const { title, box, color } of groups) {
    const group = new LiteGraph.LGraphGroup(title);
    [group.pos, group.size, group.color] = [box.slice(0, 2), box.slice(2), color];
    app.graph.add(group);
  }
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [0, 0];
  app.canvas.setDirty(true, true);
  await soon();
}

/** Least heights without title bars, at given widths, in the classic view. */
export function classicHeights(widths) {
  return app.graph._nodes.map((node, index) => {
    node.setSize([widths[index], node.computeSize()[1]]);
    return node.computeSize()[1];
  });
}

/** Lines of every note as it is drawn. */
export function noteLines() {
  return app.graph._nodes.filter(({ type }) => type === "MarkdownNote").map((node) => {
    const text = node.widgets[0].element.querySelector(".ProseMirror, .tiptap") ?? node.widgets[0].element;
    const lines = [...text.querySelectorAll("p, li")].map((part) => {
      const height = parseFloat(getComputedStyle(part).lineHeight) || 1.5 * parseFloat(getComputedStyle(part).fontSize);
      return Math.round(part.offsetHeight / height);
    });
    return lines.reduce((sum, each) => sum + each, 0);
  });
}

/** Heights of all nodes with their title bars in Nodes 2.0, by number. */
export async function modernHeights() {
  await app.extensionManager.setting.set("Comfy.VueNodes.Enabled", true);
  await wait(1500);
  const found = Object.fromEntries(
    [...document.querySelectorAll("[data-node-id]")].map((each) => [each.dataset.nodeId, each.offsetHeight]),
  );
  await app.extensionManager.setting.set("Comfy.VueNodes.Enabled", false);
  await wait(500);
  return found;
}

/** What saving the workflow, and exporting it for the API, writes, as text: JSON leaves out what is undefined. */
export async function save() {
  const { workflow, output } = await app.graphToPrompt();
  return JSON.stringify({ workflow, output });
}

/** The graph's nodes made one subgraph, as a blueprint file holds it, as text. */
export async function blueprint({ name, inputs, outputs, widgets }) {
  const { subgraph, node } = app.graph.convertToSubgraph(new Set(app.graph._nodes));
  const nodes = [...subgraph._nodes].sort((a, b) => a.id - b.id);
  const slot = (index, wanted) => nodes[index].inputs.find((each) => each.name === wanted);
  for (const { name: shown, to } of inputs) {
    const input = subgraph.addInput(shown, slot(...to[0]).type);
    for (const [index, wanted] of to) input.connect(slot(index, wanted), nodes[index]);
  }
  for (const { name: shown, node: index, output } of outputs) {
    const from = nodes[index].outputs.find((each, number) => each.name === output || number === output);
    subgraph.addOutput(shown, from.type).connect(from, nodes[index]);
  }
  subgraph.name = node.title = name;
  node.properties.proxyWidgets = widgets.map(([index, wanted]) => [String(nodes[index].id), wanted]);
  await soon();
  const { nodes: outside, subgraphs } = app.canvas._serializeItems([node]);
  return JSON.stringify({ nodes: outside, subgraphs });
}
