// Titles of the pack's nodes are not cut, whichever view draws them.

import { app } from "../../scripts/app.js";

const LETTER = 8.4; // pixels of the bold title in Nodes 2.0, on average; a Chinese one takes two of them
const BESIDE = 150; // pixels beside a title: the arrow and the badge with the pack's name
const CHINESE = 0x2e80; // first code point of what is as wide

app.registerExtension({
  name: "iqaadapter.titles",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("IQA")) return;
    const letters = [...node.title].reduce((sum, letter) => sum + (letter.codePointAt(0) < CHINESE ? 1 : 2), 0);
    const width = BESIDE + LETTER * letters;
    if (node.size[0] < width) node.setSize([width, node.size[1]]);
  },
});
