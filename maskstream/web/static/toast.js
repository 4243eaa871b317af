/** Messages at the edge of the page. Problems stay until they are closed; other messages disappear. */

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";

const SHOWN_MS = 5000;
const MOST = 3;
let place = null;

/** Create the region that screen readers watch. */
export function createToasts() {
  place = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
  return place;
}

export function tell(text) {
  const toast = show(text, "done", "mask");
  setTimeout(() => toast.remove(), SHOWN_MS);
}

/** Show the one-line message of a problem. */
export function report(problem) {
  if (problem.status === 401) return; // the sign-in page opens
  show(problem.message, "problem", "incorrect");
}

function show(text, kind, symbol) {
  const close = h("button", { type: "button", class: "button quiet square", "aria-label": t("close"), click: () => toast.remove() }, icon("close"));
  const toast = h("div", { class: `toast ${kind}` }, icon(symbol), h("p", {}, text), close);
  for (const same of [...place.children].filter((other) => other.querySelector("p").textContent === text)) same.remove();
  place.append(toast);
  while (place.children.length > MOST) place.firstElementChild.remove();
  return toast;
}
