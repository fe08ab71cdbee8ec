// Words of the script in the user's language, from `locales/<language>/main.json`; English stands in the script.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

let translations = {};

/** A text of the script in the user's language; `{name}` is replaced by `values.name`. */
export function say(text, values = {}) {
  const language = app.extensionManager.setting.get("Comfy.Locale");
  return fill(translations[language]?.iqaAdapter?.[text] ?? text, values);
}

export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

app.registerExtension({
  name: "iqaadapter.words",
  async init() {
    const answer = await api.fetchApi("/i18n");
    if (answer.ok) translations = await answer.json();
  },
});
