/** Audit: who did what, newest first. */

import { get } from "../api.js";
import { h, heading } from "../dom.js";
import { dateTime } from "../format.js";
import { t, tOr } from "../i18n.js";
import { report } from "../toast.js";

const PAGE_SIZE = 100;
const COLUMNS = ["time", "who", "what", "detail", "address"];

export function openAudit(main) {
  const body = h("tbody");
  const more = h("button", { type: "button", class: "button", hidden: true }, t("events.more"));
  const empty = h("p", { class: "empty", hidden: true }, t("audit.empty"));
  let cursor = null;

  async function load() {
    more.disabled = true;
    try {
      const page = await get("audit", { cursor, limit: PAGE_SIZE });
      body.append(...page.entries.map(row));
      cursor = page.next;
      more.hidden = cursor === null;
      empty.hidden = body.children.length > 0;
    } catch (problem) {
      report(problem);
    }
    more.disabled = false;
  }

  more.addEventListener("click", load);
  const head = COLUMNS.map((name) => h("th", { scope: "col" }, t(`audit.column.${name}`)));
  const table = h("table", { class: "table audit" }, h("thead", {}, h("tr", {}, head)), body);
  main.append(heading(t("page.audit")), h("div", { class: "card scroll" }, table), empty, more);
  load();
  return { close: () => {} };
}

function row(entry) {
  const cell = (name, content) => h("td", { class: content === "–" ? `col-${name} nothing` : `col-${name}`, "data-title": t(`audit.column.${name}`) }, content);
  return h(
    "tr",
    {},
    cell("time", h("time", { datetime: entry.at_utc }, dateTime(entry.at_utc))),
    cell("who", h("b", {}, entry.who)),
    cell("what", tOr(`audit.${entry.what}`, entry.what)),
    cell("detail", entry.detail || "–"),
    cell("address", entry.address || "–"),
  );
}
