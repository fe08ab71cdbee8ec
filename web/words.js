// Words of the script in the user's language, from `locales/<language>/main.json`; English stands in the script.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const LONGEST_WAIT = 5000; // milliseconds, for the front end's part of a language
let translations = {};

/** A text of the script in the user's language; `{name}` is replaced by `values.name`. */
export function say(text, values = {}) {
  const language = app.extensionManager.setting.get("Comfy.Locale");
  return fill(translations[language]?.iqaAdapter?.[text] ?? text, values);
}

export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/**
 * The front end of ComfyUI 0.3.75 forgets what packs say in a language when it has loaded its own part of that language,
 * which later ones keep: names and tooltips of the pack's nodes are given again, before nodes are registered.
 */
async function remind(language) {
  const ours = translations[language];
  const vue = document.getElementById("vue-app")?.__vue_app__;
  const messages = vue?._context.provides[vue.__VUE_I18N_SYMBOL__]?.global;
  if (!ours || language === "en" || !messages) return;
  for (let waited = 0; waited < LONGEST_WAIT; waited += 50) {
    const { g: own, nodeDefs } = messages.getLocaleMessage(language);
    if (own && nodeDefs?.IQAQuality) return;
    if (own) return messages.mergeLocaleMessage(language, ours);
    await new Promise((done) => setTimeout(done, 50));
  }
}

app.registerExtension({
  name: "iqaadapter.words",
  async init() {
    const answer = await api.fetchApi("/i18n");
    if (!answer.ok) return;
    translations = await answer.json();
    await remind(app.extensionManager.setting.get("Comfy.Locale"));
  },
});
