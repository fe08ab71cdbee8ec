// The quality pad: a square with aesthetics to the right and quality upwards, and a point to drag.

import { app } from "../../scripts/app.js";
import { addPanel, after, make } from "./panel.js";
import { PRESETS, afterKey, colour, fromPlace, toPlace, word } from "./percentiles.js";
import { say } from "./words.js";

const NODES = ["IQAQualityEmbed", "IQAQuality"];
const AXES = ["quality", "aesthetics"];
const ARROWS = { quality: "\u2191", aesthetics: "\u2192" };
const SIDE = 128; // pixels of the square
const PADDING = 12; // around it, so that the point is whole at the edges
const LEAST_WIDTH = 320; // of the node

const STYLE = `
  .inside { display: flex; gap: 14px; padding: ${PADDING}px; overflow: hidden; user-select: none; }
  .square { position: relative; flex: none; width: ${SIDE}px; height: ${SIDE}px; border-radius: 4px; cursor: crosshair;
    touch-action: none; border: 1px solid var(--border-color, #4e4e4e); box-sizing: border-box;
    background:
      linear-gradient(var(--border-color, #4e4e4e), var(--border-color, #4e4e4e)) center / 1px 100% no-repeat,
      linear-gradient(var(--border-color, #4e4e4e), var(--border-color, #4e4e4e)) center / 100% 1px no-repeat,
      linear-gradient(to top, hsl(0 55% 48% / 0.35), hsl(60 55% 48% / 0.12), hsl(120 55% 48% / 0.35)); }
  .square:focus-visible { outline: 2px solid var(--p-primary-color, #0b8ce9); outline-offset: 1px; }
  .point { position: absolute; width: 14px; height: 14px; margin: -7px; border-radius: 50%; pointer-events: none;
    border: 2px solid #fff; box-shadow: 0 0 0 1px #000; box-sizing: border-box; }
  .values { display: flex; flex-direction: column; justify-content: center; gap: 10px; min-width: 0; }
  .name { display: block; }
  .percent { margin-right: 6px; font-size: 16px; font-weight: 600; font-variant-numeric: tabular-nums; }
  .linked .square { opacity: 0.4; cursor: not-allowed; }
`;

/** The two number inputs of a node that has a pad. */
function inputsOf(node) {
  return Object.fromEntries(AXES.map((axis) => [axis, node.widgets.find(({ name }) => name === axis)]));
}

function isLinked(node, axis) {
  return node.inputs?.some(({ widget, link }) => widget?.name === axis && link != null);
}

function createPad(node) {
  const inputs = inputsOf(node);
  const { widget, root } = addPanel(node, "quality_pad", () => SIDE + 2 * PADDING, STYLE);
  const square = make("div", "square", root);
  const point = make("div", "point", square);
  const values = make("div", "values", root);
  const shown = Object.fromEntries(AXES.map((axis) => [axis, axisText(axis, values)]));
  square.tabIndex = 0;
  square.setAttribute("role", "application");
  square.setAttribute("aria-label", say("Quality pad: aesthetics to the right, quality upwards"));

  const preset = node.widgets.find(({ name }) => name === "preset"); // of Quality (simple)
  const current = () => {
    const value = PRESETS[preset?.value];
    return Object.fromEntries(AXES.map((axis) => [axis, value ?? Number(inputs[axis].value)]));
  };

  function draw() {
    const percentiles = current();
    const { left, top } = toPlace(percentiles);
    point.style.left = `${100 * left}%`;
    point.style.top = `${100 * top}%`;
    point.style.background = colour(percentiles.quality);
    for (const axis of AXES) {
      shown[axis].percent.textContent = `${Number(percentiles[axis].toFixed(2))} %`;
      shown[axis].word.textContent = isLinked(node, axis) ? say("from its input") : say(word(percentiles[axis]));
    }
    root.classList.toggle("linked", AXES.every((axis) => isLinked(node, axis)));
    square.ariaValueText = AXES.map((axis) => `${axis} ${percentiles[axis]}`).join(", ");
  }

  function set(percentiles) {
    if (preset) enter(preset, "custom");
    for (const axis of AXES) if (!isLinked(node, axis)) enter(inputs[axis], percentiles[axis]);
    draw();
    node.setDirtyCanvas(true, true);
  }

  drag(square, (x, y, side) => set(fromPlace(x, y, side)));
  square.addEventListener("keydown", (event) => {
    const moved = afterKey(event.key, event.shiftKey, current());
    if (!moved) return;
    event.preventDefault();
    event.stopPropagation();
    set(moved);
  });
  square.addEventListener("keyup", () => widget.element.dispatchEvent(new Event("change"))); // one step to undo
  for (const axis of AXES) after(inputs[axis], "callback", draw);
  if (preset) keepInStep(preset, inputs, draw);
  after(node, "onConfigure", draw);
  after(node, "onConnectionsChange", () => queueMicrotask(draw));
  draw();
}

function axisText(axis, values) {
  const line = make("div", "", values);
  make("span", "name faint", line, `${ARROWS[axis]} ${say(axis)}`);
  const percent = make("span", "percent", line);
  return { percent, word: make("span", "faint", line) };
}

/** Give an input a value as if it had been entered. */
function enter(input, value) {
  if (input.value === value) return;
  input.value = value;
  input.callback?.(value);
}

/** A preset shows its percentiles in the two inputs; other percentiles in them mean that it is left. */
function keepInStep(preset, inputs, draw) {
  let isChoosing = false;
  after(preset, "callback", (chosen) => {
    isChoosing = true;
    if (chosen in PRESETS) for (const axis of AXES) enter(inputs[axis], PRESETS[chosen]);
    isChoosing = false;
    draw();
  });
  for (const axis of AXES) after(inputs[axis], "callback", () => isChoosing || enter(preset, "custom"));
}

/** Call `moved(x, y, side)` for a pointer that is pressed on a square; the canvas below gets none of it. */
function drag(square, moved) {
  const move = (event) => {
    event.stopPropagation();
    if (!square.hasPointerCapture(event.pointerId)) return;
    const { left, top, width } = square.getBoundingClientRect(); // as large as the zoom shows it
    moved(event.clientX - left, event.clientY - top, width);
  };
  square.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    square.setPointerCapture(event.pointerId);
    square.focus({ preventScroll: true });
    move(event);
  });
  square.addEventListener("pointermove", move);
  square.addEventListener("pointerup", (event) => {
    event.stopPropagation();
    square.releasePointerCapture(event.pointerId);
  });
}

app.registerExtension({
  name: "iqaadapter.quality_pad",
  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    createPad(node);
    node.setSize([Math.max(node.size[0], LEAST_WIDTH), node.computeSize()[1]]);
  },
});
