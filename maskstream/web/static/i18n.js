/** Texts of the pages in the user's language, from i18n/LANGUAGE.json. */

const KEPT_AS = "maskstream.language";
const FALLBACK = "en";
let texts = {};
let plural = new Intl.PluralRules(FALLBACK);

/** The languages that exist: their names by code. */
export let languages = {};
export let language = FALLBACK;
/** The language with the region of the browser: it decides how times and numbers are written. */
export let locale = FALLBACK;

/** Load the chosen language, otherwise the browser's, otherwise English. */
export async function loadLanguage() {
  languages = await fetchJson("languages");
  const choices = [kept(), ...navigator.languages.map((name) => name.split("-")[0]), FALLBACK];
  language = choices.find((name) => name in languages);
  locale = navigator.languages.find((name) => name.split("-")[0] === language) ?? language;
  texts = await fetchJson(language);
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language;
}

export function chooseLanguage(name) {
  try {
    localStorage.setItem(KEPT_AS, name);
  } catch {
    // Without storage the choice is valid until the page is left.
  }
  language = name;
}

/** Return the text of a key, with `{name}` replaced by values. */
export function t(key, values = {}) {
  const text = texts[key];
  if (text === undefined) {
    console.error(`i18n/${language}.json: the key ${key} is missing`);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? all));
}

/** Return the text of a key for a number: KEY.one, KEY.other. */
export function tn(key, number, values = {}) {
  const form = plural.select(number) === "one" ? "one" : "other";
  return t(`${key}.${form}`, { n: number, ...values });
}

/** Return the text of a key, or the fallback where the server sends a value without a text. */
export function tOr(key, fallback) {
  return key in texts ? t(key) : fallback;
}

async function fetchJson(name) {
  const response = await fetch(new URL(`i18n/${name}.json`, import.meta.url));
  if (!response.ok) throw new Error(`i18n/${name}.json: HTTP ${response.status}`);
  return response.json();
}

function kept() {
  try {
    return localStorage.getItem(KEPT_AS);
  } catch {
    return null;
  }
}
