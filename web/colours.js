// A colour for each of the pack's socket types and their links, and grey for those that no palette has a colour for.

import { app } from "../../scripts/app.js";

export const COLOURS = {
  IQA_ADAPTER: "#c678dd",
  IQA_EMBEDS: "#e5a93c",
  IQA_MODEL: "#4fb0c6",
  IQA_SCORES: "#7fb950",
  IQA_FEATURES: "#e06c75",
  IQA_GUIDANCE_RECORD: "#d48fb0",
  IQA_CALIBRATION: "#b08968",
};

const GREY = "#aaaaaa";
const others = new Set(); // further types of the pack's sockets

/** Make `table[type]` the colour of a type; palettes set those of types they do not know to an empty text. */
function keepColour(table, type, ours) {
  let colour = ours;
  const set = (given) => {
    colour = given || ours;
  };
  Object.defineProperty(table, type, { get: () => colour, set, enumerable: true, configurable: true });
}

/** Nodes 2.0 of ComfyUI 0.3.75 draws sockets of types without a colour, such as numbers and texts, transparent. */
function fillIn(types) {
  const known = getComputedStyle(document.body);
  for (const type of types) {
    const property = `--color-datatype-${type}`;
    if (!known.getPropertyValue(property)) document.documentElement.style.setProperty(property, GREY);
  }
}

app.registerExtension({
  name: "iqaadapter.colours",
  beforeRegisterNodeDef(nodeType, { name, input, output }) {
    if (!name.startsWith("IQA")) return;
    const inputs = Object.values({ ...input?.required, ...input?.optional }).map(([type]) => type);
    for (const type of [...inputs, ...output]) if (typeof type === "string") others.add(type);
  },
  setup() {
    const { canvas } = app;
    for (const [type, colour] of Object.entries(COLOURS)) {
      for (const table of [canvas.default_connection_color_byType, canvas.constructor.link_type_colors]) {
        keepColour(table, type, colour);
      }
      // Nodes 2.0 reads custom properties. A palette removes those of types it does not know from one of these two
      // elements, which one depends on the version; the other then counts.
      for (const element of [document.documentElement, document.body]) {
        element.style.setProperty(`--color-datatype-${type}`, colour);
      }
    }
    fillIn(others);
  },
});
