// Titles of the pack's nodes are not cut, whichever view draws them.

import { app } from "../../scripts/app.js";

const LETTER = 8.4; // pixels of the bold title in Nodes 2.0, on average
const BESIDE = 130; // pixels beside a title: the arrow and the badge with the pack's name

app.registerExtension({
  name: "iqaadapter.titles",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("IQA")) return;
    const width = BESIDE + LETTER * node.title.length;
    if (node.size[0] < width) node.setSize([width, node.size[1]]);
  },
});
