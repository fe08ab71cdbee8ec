// Lists of adapter files say what each file is; the values, which workflows store, stay the names of the files.

import { app } from "../../scripts/app.js";

const INPUT = "adapter_name";
const descriptions = new Map(); // name of a node -> {name of a file: what it is}

function read(name, definition) {
  const [, options] = definition?.input?.required?.[INPUT] ?? [];
  if (options?.descriptions) descriptions.set(name, options.descriptions);
}

app.registerExtension({
  name: "iqaadapter.adapter_list",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name.startsWith("IQA")) read(nodeData.name, nodeData);
  },
  refreshComboInNodes(definitions) {
    for (const name of descriptions.keys()) read(name, definitions[name]);
  },
  nodeCreated(node) {
    if (!descriptions.has(node.comfyClass)) return;
    const list = node.widgets.find(({ name }) => name === INPUT);
    list.options.getOptionLabel = (file) => {
      const what = descriptions.get(node.comfyClass)[file];
      return what ? `${file}: ${what}` : String(file ?? "");
    };
  },
});
