/** Events: newest first, filtered by camera, zone, label and time. New ones appear while the page is open. */

import { get } from "../api.js";
import { h, heading, order, setText, spoken } from "../dom.js";
import { clockTime, dateTime, day, duration, number, percent } from "../format.js";
import { t, tn } from "../i18n.js";
import { icon } from "../icons.js";
import { causeText, labelMark, LABELS } from "../labels.js";
import { report } from "../toast.js";

const PAGE_SIZE = 50;
const MOST_ROWS = 500;
const TICK_MS = 1000;
const PERIODS = ["today", "day", "week", "all"];
const DAY_MS = 86_400_000;

export function openEvents(main, { live, query }) {
  const page = new Events(main, live, query);
  return { close: () => page.close() };
}

class Events {
  #rows = new Map();
  #cursor = null;
  #request = 0;
  #zoneNames = new Set();

  constructor(main, live, query) {
    this.live = live;
    this.filters = new Filters(query, () => this.#reload());
    this.count = h("p", { class: "summary", role: "status" });
    this.list = h("ol", { class: "events", "aria-label": t("page.events") });
    this.more = h("button", { type: "button", class: "button", hidden: true, click: () => this.#load() }, t("events.more"));
    this.empty = h("p", { class: "empty", hidden: true }, t("events.empty"));
    this.unseen = h("button", { type: "button", class: "button primary unseen", hidden: true, click: () => scrollTo({ top: 0 }) });
    this.unseenCount = 0;
    main.append(heading(t("page.events"), this.count), this.filters.element, columns(), this.list, this.empty, this.more, this.unseen);
    this.listeners = { event: (event) => this.#arrived(event.detail), cameras: () => this.#offer(), status: () => live.status === "open" && this.#refresh() };
    for (const [name, listener] of Object.entries(this.listeners)) live.addEventListener(name, listener);
    this.scrolled = () => scrollY < 50 && this.#seen();
    addEventListener("scroll", this.scrolled, { passive: true });
    this.timer = setInterval(() => this.#tick(), TICK_MS);
    this.#offer();
    this.#reload();
  }

  close() {
    clearInterval(this.timer);
    removeEventListener("scroll", this.scrolled);
    for (const [name, listener] of Object.entries(this.listeners)) this.live.removeEventListener(name, listener);
  }

  #offer() {
    const views = [...this.live.cameras.values()];
    for (const view of views) for (const zone of view.zones ?? []) this.#zoneNames.add(zone.name);
    this.filters.offer(views.map((view) => view.camera), [...this.#zoneNames]);
  }

  async #reload() {
    this.#cursor = null;
    await this.#load(true);
  }

  /** Take what was missed while the connection was lost; pages that were loaded stay. */
  async #refresh() {
    if (this.#rows.size === 0) return;
    try {
      const page = await get("events", { ...this.filters.query(), limit: PAGE_SIZE });
      for (const event of page.events) this.#put(event);
      this.#show();
    } catch (problem) {
      report(problem);
    }
  }

  async #load(isFirst = false) {
    const request = ++this.#request;
    try {
      const page = await get("events", { ...this.filters.query(), cursor: isFirst ? null : this.#cursor, limit: PAGE_SIZE });
      if (request !== this.#request) return;
      if (isFirst) this.#rows.clear();
      for (const event of page.events) this.#put(event);
      this.#cursor = page.next;
    } catch (problem) {
      if (request === this.#request) report(problem);
    }
    this.#show();
  }

  #arrived(event) {
    const isKnown = this.#rows.has(event.event_id);
    if (!this.filters.match(event)) {
      if (isKnown) this.#rows.delete(event.event_id);
    } else {
      this.#put(event, !isKnown);
      if (!isKnown && scrollY > 200) this.unseenCount += 1;
    }
    if (this.#rows.size > MOST_ROWS && scrollY < 200) this.#reload(); // a page that is open for days
    this.#show();
  }

  #put(event, isNew = false) {
    const row = this.#rows.get(event.event_id);
    if (!row) this.#rows.set(event.event_id, new Row(event, isNew));
    else if (event.sequence >= row.event.sequence) row.update(event);
  }

  #show() {
    const rows = [...this.#rows.values()].sort((one, other) => beganMs(other.event) - beganMs(one.event));
    const nodes = [];
    let last = null;
    for (const row of rows) {
      const name = row.event.began_utc ? day(row.event.began_utc) : t("day.files");
      if (name !== last) nodes.push(this.#dayNode(name));
      last = name;
      nodes.push(row.element);
    }
    order(this.list, nodes);
    const open = rows.filter((row) => isOpenEvent(row.event)).length;
    setText(this.count, `${tn("events.shown", rows.length)} · ${tn("events.open", open)}`);
    this.empty.hidden = rows.length > 0;
    this.more.hidden = this.#cursor === null;
    setText(this.unseen, tn("events.unseen", this.unseenCount));
    this.unseen.hidden = this.unseenCount === 0;
  }

  #dayNode(name) {
    this.days ??= new Map();
    if (!this.days.has(name)) this.days.set(name, h("li", { class: "day" }, h("h2", {}, name)));
    return this.days.get(name);
  }

  #seen() {
    this.unseenCount = 0;
    this.unseen.hidden = true;
  }

  #tick() {
    for (const row of this.#rows.values()) row.tick();
  }
}

function isOpenEvent(event) {
  return event.phase !== "end";
}

/** Events of files have no time of day. */
function beganMs(event) {
  return event.began_utc ? Date.parse(event.began_utc) : 1000 * event.began_s;
}

function beganNode(event) {
  if (!event.began_utc) return h("span", {}, duration(event.began_s));
  return h("time", { datetime: event.began_utc, title: dateTime(event.began_utc) }, clockTime(event.began_utc));
}

function columns() {
  const names = ["label", "camera", "zone", "began", "duration", "state", "confidence"];
  return h("div", { class: "event-columns", "aria-hidden": "true" }, names.map((name) => h("span", { class: `col-${name}` }, t(`events.column.${name}`))));
}

/** One event: a line, and its details when it is opened. */
class Row {
  constructor(event, isNew) {
    this.cells = {};
    const cell = (name) => (this.cells[name] = h("span", { class: `col-${name}` }));
    const names = ["label", "camera", "zone", "began", "duration", "state", "confidence"];
    this.details = h("dl", { class: "facts" });
    this.link = h("a", { class: "button" }, icon("now"), t("events.open-camera"));
    this.element = h(
      "li",
      { class: isNew ? "event-row new" : "event-row" },
      h("details", { class: "event" }, h("summary", {}, names.map(cell)), h("div", { class: "event-more" }, this.details, this.link)),
    );
    this.update(event);
  }

  update(event) {
    this.event = event;
    const isOpen = isOpenEvent(event);
    this.element.classList.toggle("open", isOpen);
    this.cells.label.replaceChildren(labelMark(event.label));
    setText(this.cells.camera, event.source);
    setText(this.cells.zone, event.zone ?? "");
    this.cells.began.replaceChildren(beganNode(event));
    setText(this.cells.confidence, percent(event.confidence));
    this.cells.state.replaceChildren(...stateOf(event, isOpen));
    this.link.href = `#/now/${encodeURIComponent(event.source)}`;
    this.#describe(event, isOpen);
    this.tick();
  }

  #describe(event, isOpen) {
    const box = event.best?.box;
    const facts = [
      event.began_utc && [t("event.began"), dateTime(event.began_utc)],
      event.last_utc && [isOpen ? t("event.last") : t("event.ended"), dateTime(event.last_utc)],
      [t("event.person"), `#${event.person}`],
      [t("event.id"), event.event_id],
      [t("event.records"), number(event.sequence + 1)],
      box && [t("event.box"), Object.values(box).map((value) => number(value)).join(", ")],
    ];
    this.details.replaceChildren(...facts.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  /** An open event becomes longer between its records. */
  tick() {
    const { event } = this;
    const isGrowing = isOpenEvent(event) && event.began_utc;
    const seconds = isGrowing ? (Date.now() - Date.parse(event.began_utc)) / 1000 : 0;
    setText(this.cells.duration, duration(Math.max(seconds, event.duration_s)));
  }
}

function stateOf(event, isOpen) {
  if (isOpen) return [h("span", { class: "event-open" }, icon("online"), t("event.open"))];
  return [spoken(t("event.closed")), causeText("end", event.cause)];
}

/** The filters above the list. They are kept in the address. */
class Filters {
  constructor(query, changed) {
    this.changed = changed;
    this.camera = this.#select("camera", [], query.get("camera"));
    this.zone = this.#select("zone", [], query.get("zone"));
    this.label = this.#select("label", LABELS.map((label) => [label, t(`label.${label}`)]), query.get("label"));
    this.period = this.#select("period", PERIODS.map((period) => [period, t(`period.${period}`)]), query.get("period") ?? "today", null);
    this.open = h("input", { type: "checkbox", checked: query.get("open") === "1", change: () => this.#change() });
    this.element = h(
      "form",
      { class: "filters", "aria-label": t("filter"), submit: (event) => event.preventDefault() },
      this.#labelled("camera"),
      this.#labelled("zone"),
      this.#labelled("label"),
      this.#labelled("period"),
      h("label", { class: "check" }, this.open, t("filter.open")),
    );
  }

  #select(name, options, value, all = t("filter.all")) {
    const select = h("select", { id: `filter-${name}`, change: () => this.#change() });
    if (all !== null) select.append(h("option", { value: "" }, all));
    select.append(...options.map(([key, text]) => h("option", { value: key }, text)));
    if (value && ![...select.options].some((option) => option.value === value)) select.append(h("option", { value }, value));
    select.value = value ?? "";
    return select;
  }

  #labelled(name) {
    return h("label", {}, h("span", {}, t(`filter.${name}`)), this[name]);
  }

  offer(cameras, zones) {
    for (const [select, names] of [[this.camera, cameras], [this.zone, zones]]) {
      const known = new Set([...select.options].map((option) => option.value));
      for (const name of names) if (!known.has(name)) select.append(h("option", { value: name }, name));
    }
  }

  #change() {
    const query = new URLSearchParams();
    for (const name of ["camera", "zone", "label", "period"]) if (this[name].value) query.set(name, this[name].value);
    if (this.open.checked) query.set("open", "1");
    history.replaceState(null, "", `#/events?${query}`);
    this.changed();
  }

  /** Return the beginning of the period; null for all events. */
  #sinceMs() {
    const now = new Date();
    const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
    return { today: midnight, day: now.getTime() - DAY_MS, week: now.getTime() - 7 * DAY_MS, all: null }[this.period.value];
  }

  query() {
    const sinceMs = this.#sinceMs();
    return {
      camera: this.camera.value,
      zone: this.zone.value,
      label: this.label.value,
      since: sinceMs === null ? null : new Date(sinceMs).toISOString(),
      open: this.open.checked ? "true" : null,
    };
  }

  match(event) {
    const sinceMs = this.#sinceMs();
    return (
      (!this.camera.value || event.source === this.camera.value) &&
      (!this.zone.value || event.zone === this.zone.value) &&
      (!this.label.value || event.label === this.label.value) &&
      (sinceMs === null || beganMs(event) >= sinceMs) &&
      (!this.open.checked || isOpenEvent(event))
    );
  }
}
