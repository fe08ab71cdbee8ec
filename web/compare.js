// Before and after on a node: two pictures over each other, with an edge between them to drag.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { addPanel, after, make } from "./panel.js";
import { showResults } from "./results.js";
import { say } from "./words.js";

const NODE = "IQACompare";
const HEIGHT = 280; // pixels
const LEAST_WIDTH = 340; // of the node

const STYLE = `
  .inside { display: flex; flex-direction: column; gap: 4px; overflow: hidden; padding: 6px; }
  .pictures { position: relative; flex: 1; min-height: 0; touch-action: none; cursor: ew-resize; }
  img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; pointer-events: none; }
  .edge { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: #fff;
    box-shadow: 0 0 0 1px rgb(0 0 0 / 0.5); pointer-events: none; }
  .line { display: flex; align-items: center; gap: 8px; }
  input { flex: 1; min-width: 0; accent-color: var(--p-primary-color, #0b8ce9); }
  button { border: 0; border-radius: 4px; padding: 0 8px; color: inherit; background: var(--border-color, #4e4e4e); }
  .empty { margin: auto; }
`;

function address({ filename, subfolder = "", type = "temp" }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

function createViewer(node) {
  const { root } = addPanel(node, "compare", () => HEIGHT, STYLE);
  make("div", "empty faint", root, say("Run to compare"));
  return ({ a_images: before, b_images: later }) => {
    root.replaceChildren();
    const pairs = before.map((picture, index) => [picture, later[index]]);
    const pictures = make("div", "pictures", root);
    const [left, right] = [make("img", "", pictures), make("img", "", pictures)];
    const edge = make("div", "edge", pictures);
    const line = make("div", "line", root);
    make("span", "faint", line, say("before"));
    const slider = make("input", "", line);
    Object.assign(slider, { type: "range", min: 0, max: 100, step: 1, value: 50 });
    slider.setAttribute("aria-label", say("before"));
    make("span", "faint", line, say("after"));

    const cut = () => {
      edge.style.left = `${slider.value}%`;
      right.style.clipPath = `inset(0 0 0 ${slider.value}%)`; // before to the left of the edge, after to the right
    };
    const choose = (index) => {
      [left.src, right.src] = pairs[index].map(address);
    };
    slider.addEventListener("input", cut);
    pictures.addEventListener("pointermove", (event) => {
      event.stopPropagation();
      const { left: begin, width } = pictures.getBoundingClientRect();
      slider.value = (100 * (event.clientX - begin)) / width;
      cut();
    });
    left.addEventListener("error", () => root.replaceChildren(make("div", "empty faint", null, say("Run to compare"))));
    if (pairs.length > 1) addChoice(line, pairs.length, choose);
    choose(0);
    cut();
  };
}

/** A button that goes on to the next pair of a batch. */
function addChoice(line, count, choose) {
  let index = 0;
  const button = make("button", "", line, `1 / ${count}`);
  button.addEventListener("click", () => {
    index = (index + 1) % count;
    button.textContent = `${index + 1} / ${count}`;
    choose(index);
  });
}

app.registerExtension({
  name: "iqaadapter.compare",
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    // the node's pictures beside each other are for front ends without this script
    node.hideOutputImages = true;
    after(node, "onExecuted", (output) => delete output.images);
    showResults(node, ["a_images", "b_images"], createViewer(node));
    node.setSize([Math.max(node.size[0], LEAST_WIDTH), node.computeSize()[1]]);
  },
});
