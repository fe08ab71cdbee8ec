// Results on the nodes: the scores of Score Images with bars, and what other nodes say in words.

import { app } from "../../scripts/app.js";
import { addPanel, fit, make } from "./panel.js";
import { colour, word } from "./percentiles.js";
import { showResults } from "./results.js";
import { scoreRows, shortly } from "./score_rows.js";
import { say } from "./words.js";

const SCORES = "IQAScoreImages";
const TEXTS = [
  "IQAAdapterLoader",
  "IQAAdapterTrain",
  "IQACalibrate",
  "IQACullFolder",
  "IQAQuality",
  "IQAQualityFromPicture",
  "IQAQualityMap",
  "IQAQuickstartModel",
  "IQAResponseCurve",
  "IQASaveFeatures",
  "IQAScoreDataset",
];
const ROWS = 24; // pictures of a metric that are listed
const HIGHEST = 260; // pixels of a panel; more scrolls
const LETTERS = 34; // of a text that fit into a line of the narrowest node
const UP = "\u2191";
const DOWN = "\u2193";

const STYLE = `
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  th { text-align: left; font-weight: 600; padding: 4px 0 2px; }
  td { padding: 1px 6px 1px 0; white-space: nowrap; }
  td.number { text-align: right; }
  td.wide { width: 100%; }
  .bar { height: 8px; min-width: 40px; border-radius: 4px; overflow: hidden;
    background: var(--border-color, #4e4e4e); }
  .bar > div { height: 100%; border-radius: 4px; }
  pre { margin: 0; font: 11px/1.4 monospace; white-space: pre-wrap; }
`;

/**
 * A panel without height until there is something to show. It is there from the beginning, since Nodes 2.0 of ComfyUI
 * 0.3.75 does not see widgets that come later.
 */
function resultPanel(node, draw) {
  let height = 0;
  const panel = addPanel(node, "result", () => height, STYLE);
  return (result) => {
    panel.root.replaceChildren();
    height = Math.min(HIGHEST, 16 + draw(result, panel.root));
    fit(node, panel.widget);
  };
}

function drawScores({ scores: [scores], meanings, text }, root) {
  const table = make("table", "", root);
  const found = scoreRows(scores, meanings);
  for (const { metric, better, rows } of found) {
    const head = make("th", "", make("tr", "", table), `${metric} ${better ? UP : DOWN}`);
    head.colSpan = 4;
    head.title = better ? say("higher is better") : say("lower is better");
    for (const row of rows.slice(0, ROWS)) drawRow(table, row);
    if (rows.length > ROWS) make("td", "faint", make("tr", "", table), `+ ${rows.length - ROWS}`).colSpan = 4;
  }
  const notes = notesOf(text);
  if (notes.length) drawText({ text: notes }, root);
  return found.reduce((height, { rows }) => height + 24 + 19 * Math.min(rows.length, ROWS + 1), heightOf(notes));
}

function drawRow(table, { picture, raw, share, rank }) {
  const line = make("tr", "", table);
  make("td", "number faint", line, String(picture));
  make("td", "number", line, shortly(raw));
  const cell = make("td", "wide", line);
  if (share !== null) {
    const filled = make("div", "", make("div", "bar", cell));
    filled.style.width = `${100 * share}%`;
    filled.style.background = colour(100 * share);
  }
  const ranked = rank === null ? "" : `${Math.round(rank)} % ${say(word(rank))}`;
  make("td", "rank", line, ranked).title = rank === null ? "" : say("better than {n} % of photos", { n: rank.toFixed(1) });
}

function drawText({ text }, root) {
  make("pre", "", root, text.join("\n"));
  return heightOf(text);
}

/** What stands in the text beside the table, all of whose lines are equally long. */
function notesOf([table = "", ...further]) {
  const lines = table.split("\n");
  return [...lines.filter((line) => line.length !== lines[0].length), ...further];
}

function heightOf(texts) {
  const lines = texts.flatMap((text) => text.split("\n"));
  return lines.reduce((height, line) => height + 16 * Math.max(1, Math.ceil(line.length / LETTERS)), 0);
}

app.registerExtension({
  name: "iqaadapter.results_on_nodes",
  nodeCreated(node) {
    if (node.comfyClass === SCORES) {
      showResults(node, ["scores", "meanings", "text"], resultPanel(node, drawScores));
    } else if (TEXTS.includes(node.comfyClass)) {
      showResults(node, ["text"], resultPanel(node, drawText));
    }
  },
});
