// Tests of the script's functions that know nothing of the front end; the browser test runs them.
// `load` imports a module of web/; what is returned are the failures.

export default async function run(load) {
  const failures = [];
  const same = (what, found, expected) => {
    const [a, b] = [found, expected].map((value) => JSON.stringify(value));
    if (a !== b) failures.push(`${what}: ${a} instead of ${b}`);
  };

  const { word, clamp, fromPlace, toPlace, afterKey } = await load("percentiles.js");
  same("words", [0, 10, 35, 50, 65, 90, 100].map(word), [
    "very poor", "poor", "average", "average", "good", "very good", "very good",
  ]);
  same("outside", [clamp(-3), clamp(120)], [0, 100]);
  same("corner for best", fromPlace(200, 0, 200), { quality: 100, aesthetics: 100 });
  same("outside of the square", fromPlace(-50, 900, 200), { quality: 0, aesthetics: 0 });
  same("a place and back", toPlace(fromPlace(50, 150, 200)), { left: 0.25, top: 0.75 });
  same("up", afterKey("ArrowUp", false, { quality: 50, aesthetics: 7 }), { quality: 51, aesthetics: 7 });
  same("far left", afterKey("ArrowLeft", true, { quality: 50, aesthetics: 7 }), { quality: 50, aesthetics: 0 });
  same("page down", afterKey("PageDown", false, { quality: 50, aesthetics: 7 }), { quality: 40, aesthetics: 7 });
  same("other keys", afterKey("a", false, { quality: 50, aesthetics: 7 }), null);

  const { scoreRows, shortly } = await load("score_rows.js");
  const meanings = [
    { name: "piqe", higher_is_better: false, low: 0, high: 100, better_than: [null, null] },
    { name: "topiq_nr", higher_is_better: true, low: 0, high: 1, better_than: [97, null] },
    { name: "entropy", higher_is_better: true, low: 0, high: null, better_than: [null, null] },
  ];
  const shares = scoreRows({ piqe: [20, 130], topiq_nr: [0.7, null], entropy: [7, 8] }, meanings);
  same("bars: good is full", shares.map(({ rows }) => rows.map(({ share }) => share)), [[0.8, 0], [0.97, null], [null, null]]);
  same("directions", shares.map(({ better }) => better), [false, true, true]);
  same("numbers", [shortly(0.123456), shortly(1234567), shortly(null)], ["0.1235", "1235000", "-"]);

  const { byAlias, placeOf } = await load("search_words.js");
  const aliases = new Map([
    ["A", ["noise", "film grain"]],
    ["B", ["grain", "noisy picture"]],
  ]);
  same("exact first", byAlias("Grain", aliases), ["B", "A"]);
  same("beginnings", byAlias("nois", aliases), ["A", "B"]);
  same("within a word", byAlias("oise", aliases), []);
  same("nothing typed", byAlias(" ", aliases), []);
  const found = ["Add Noise", "Noise", "Nose"].map((name) => ({ name, display_name: name }));
  same("behind fitting names", placeOf("noise", found), 2);
  same("before the first", placeOf("xy", found), 0);

  const { newestRun } = await load("history.js");
  const run = (id, timestamp) => ({
    prompt: [0, "", {}, { extra_pnginfo: { workflow: { id } } }],
    status: { messages: [["execution_start", { timestamp }]] },
  });
  const history = { a: run("w", 10), b: run("w", 30), c: run("w", 99), d: run("other", 40), e: { prompt: [0, "", {}, {}] } };
  same("newest of a workflow", newestRun(history, "w"), history.c);
  same("no run", newestRun(history, "none"), null);
  same("no workflow", newestRun(history, undefined), null);

  const { fill } = await load("words.js");
  same("values in texts", fill("better than {n} %", { n: 3 }), "better than 3 %");
  return failures;
}
