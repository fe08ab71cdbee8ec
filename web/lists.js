// Lists say what each of their values is; the values, which workflows store, stay as they are.
//
// The pack's schemas have such texts in the option `descriptions` of an input: {value: what it is}.

import { app } from "../../scripts/app.js";

const known = new Map(); // name of a node -> {name of an input: its descriptions}

function read(name, definition) {
  const inputs = Object.entries({ ...definition?.input?.required, ...definition?.input?.optional });
  const described = inputs.filter(([, spec]) => spec[1]?.descriptions);
  if (described.length) known.set(name, Object.fromEntries(described.map(([id, spec]) => [id, spec[1].descriptions])));
}

app.registerExtension({
  name: "iqaadapter.lists",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name.startsWith("IQA")) read(nodeData.name, nodeData);
  },
  refreshComboInNodes(definitions) {
    for (const name of known.keys()) read(name, definitions[name]);
  },
  nodeCreated(node) {
    for (const input of Object.keys(known.get(node.comfyClass) ?? {})) {
      const list = node.widgets.find(({ name }) => name === input);
      list.options.getOptionLabel = (value) => {
        const what = known.get(node.comfyClass)[input][value];
        return what ? `${value} - ${what}` : String(value ?? "");
      };
    }
  },
});
