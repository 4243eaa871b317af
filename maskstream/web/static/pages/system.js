/** System: the program, its store, the disks, the deliveries of events, and the settings in use. */

import { get, post } from "../api.js";
import { h, heading, setText } from "../dom.js";
import { bytes, dateTime, duration, number, percent } from "../format.js";
import { t, tn } from "../i18n.js";
import { icon } from "../icons.js";
import { isInUse, may } from "../session.js";
import { report } from "../toast.js";

const REFRESH_MS = 5000;
const LITTLE = 0.1;

export function openSystem(main) {
  const page = new System(main);
  return { close: () => page.close() };
}

class System {
  constructor(main) {
    this.program = card("system.program");
    this.store = card("system.store");
    this.disks = card("system.disks");
    this.deliveries = card("system.deliveries");
    this.read = h("p", { class: "summary" });
    main.append(
      heading(t("page.system"), this.read),
      h("div", { class: "cards" }, this.program.element, this.store.element, this.disks.element, this.deliveries.element),
    );
    if (may("admin")) main.append(new Settings().element, checkSettings());
    this.timer = setInterval(() => isInUse() && this.#load(), REFRESH_MS);
    this.#load();
  }

  close() {
    clearInterval(this.timer);
  }

  async #load() {
    try {
      this.#show(await get("system"));
    } catch (problem) {
      report(problem);
    }
  }

  #show(system) {
    const { versions = {}, store, disks = [], deliveries = [] } = system;
    setText(this.read, t("system.uptime", { time: duration(system.uptime_s ?? 0) }));
    const started = system.started_utc && [t("system.started"), dateTime(system.started_utc)];
    this.program.fill(facts([...Object.entries(versions), started]));
    this.store.fill(store ? storeNodes(store) : note("system.no-store"));
    this.disks.fill(disks.length ? h("ul", { class: "plain" }, disks.map(diskNode)) : note("system.no-disks"));
    this.deliveries.fill(deliveries.length ? deliveryTable(deliveries) : note("system.no-deliveries"));
  }
}

function card(title) {
  const body = h("div");
  const element = h("section", { class: "card" }, h("h2", {}, t(title)), body);
  return { element, fill: (...nodes) => body.replaceChildren(...nodes.flat()) };
}

function note(key) {
  return h("p", { class: "muted" }, t(key));
}

function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function storeNodes(store) {
  const state = store.writable
    ? h("span", { class: "state state-online" }, icon("mask"), t("system.writable"))
    : h("span", { class: "state state-offline" }, icon("offline"), t("system.not-writable"));
  const pairs = [
    [t("system.state"), state],
    store.error && [t("system.error"), store.error],
    [t("system.size"), bytes(store.size_bytes ?? 0)],
    [t("system.waiting-writes"), number(store.waiting_writes ?? 0)],
    store.lost_writes > 0 && [t("system.lost-writes"), number(store.lost_writes)],
    [t("system.schema"), String(store.schema_version ?? "–")],
    store.path && [t("system.path"), store.path],
  ];
  return facts(pairs);
}

function diskNode(disk) {
  const free = disk.total_bytes ? disk.free_bytes / disk.total_bytes : null;
  const isLittle = free !== null && free < LITTLE;
  const text = t("system.free", { free: bytes(disk.free_bytes), total: bytes(disk.total_bytes ?? 0), percent: percent(free) });
  return h(
    "li",
    { class: "disk" },
    h("span", { class: "path" }, disk.folder),
    h("meter", { min: 0, max: 1, high: 1 - LITTLE, optimum: 0, value: free === null ? 0 : 1 - free, "aria-label": text }),
    h("span", { class: isLittle ? "state state-stalled" : "muted" }, isLittle && icon("stalled"), text),
  );
}

function deliveryTable(deliveries) {
  const names = ["receiver", "waiting", "oldest", "lost"];
  const head = h("tr", {}, names.map((name) => h("th", { scope: "col" }, t(`system.delivery.${name}`))));
  const rows = deliveries.map((each) => {
    const lost = each.lost ?? 0;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, each.receiver, each.reason && h("span", { class: "muted parts" }, each.reason)),
      h("td", { "data-title": t("system.delivery.waiting") }, number(each.waiting ?? 0)),
      h("td", { "data-title": t("system.delivery.oldest") }, typeof each.oldest_s === "number" ? duration(each.oldest_s) : "–"),
      h("td", { "data-title": t("system.delivery.lost") }, lost > 0 ? h("span", { class: "state state-offline" }, icon("offline"), number(lost)) : "0"),
    );
  });
  return h("table", { class: "table" }, h("thead", {}, head), h("tbody", {}, rows));
}

/** All settings in use, with a field that filters them. */
class Settings {
  constructor() {
    this.filter = h("input", { type: "search", id: "settings-filter", placeholder: t("system.filter"), "aria-label": t("system.filter"), input: () => this.#show() });
    this.count = h("p", { class: "summary", role: "status" });
    this.body = h("tbody");
    this.rows = [];
    const names = [t("system.setting"), t("system.value")];
    const head = h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)));
    this.element = h(
      "section",
      { class: "card settings" },
      h("div", { class: "heading" }, h("h2", {}, t("system.settings")), this.count, h("span", { class: "space" }), this.filter),
      h("table", { class: "table" }, h("thead", { class: "spoken" }, head), this.body),
    );
    this.#load();
  }

  async #load() {
    try {
      const answer = await get("config");
      this.rows = flatten(answer.settings);
      this.#show();
    } catch (problem) {
      report(problem);
    }
  }

  #show() {
    const wanted = this.filter.value.trim().toLowerCase();
    const shown = this.rows.filter(([name, value]) => `${name} ${value}`.toLowerCase().includes(wanted));
    this.body.replaceChildren(...shown.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, name)), h("td", {}, h("code", {}, value)))));
    setText(this.count, tn("system.shown", shown.length));
  }
}

/** A text of settings or of a list of cameras, checked as the command line does before a run. */
function checkSettings() {
  const kind = h("select", { "aria-label": t("check.kind") }, ["config", "cameras"].map((name) => h("option", { value: name }, t(`check.${name}`))));
  const text = h("textarea", { rows: 6, spellcheck: "false", "aria-label": t("check.text") });
  const line = h("p", { role: "status" });
  const button = h("button", { type: "submit", class: "button" }, t("check.button"));
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const { ok, detail } = await post("config/validate", { kind: kind.value, text: text.value });
      line.className = ok ? "state state-online" : "form-problem";
      setText(line, ok ? t("check.right") : detail);
    } catch (problem) {
      report(problem);
    }
    button.disabled = false;
  };
  const form = h("form", { class: "form", submit }, h("p", { class: "hint" }, t("check.hint")), kind, text, line, h("p", {}, button));
  return h("details", { class: "card check-settings" }, h("summary", {}, t("check.title")), form);
}

function flatten(value, path = "") {
  if (value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0) {
    return Object.entries(value).flatMap(([key, inner]) => flatten(inner, path ? `${path}.${key}` : key));
  }
  return [[path, typeof value === "string" ? value : JSON.stringify(value)]];
}
