/** One camera alone: its picture as large as the window allows, its people, rates and open events. */

import { get } from "../api.js";
import { h, heading, setText } from "../dom.js";
import { duration, percent, rate, shortTime } from "../format.js";
import { t, tOr } from "../i18n.js";
import { icon } from "../icons.js";
import { causeText, isSilent, labelMark, PeopleChips, StateBadge, stateText } from "../labels.js";
import { isFleet, may } from "../session.js";
import { AgeText, Picture } from "./tile.js";

const TICK_MS = 250;
const RATE = 12;
const EVENTS = 8;

export function openCamera(main, { live, parts }) {
  const page = new CameraPage(main, live, parts[1]);
  return { close: () => page.close(), title: parts[1] };
}

class CameraPage {
  constructor(main, live, camera) {
    this.live = live;
    this.camera = camera;
    this.picture = new Picture();
    this.age = new AgeText();
    this.state = new StateBadge();
    this.people = new PeopleChips();
    this.facts = h("dl", { class: "facts" });
    this.events = h("ul", { class: "plain" });
    this.veil = h("span", { class: isFleet() ? "" : "tile-veil" }, t("tile.waiting"));
    this.frame = isFleet() ? h("div", { class: "card placed-note" }, this.veil) : h("div", { class: "large-picture" }, this.picture.canvas, this.veil);
    main.append(this.#heading(), h("div", { class: "large" }, this.frame, this.#panel()));
    this.keys = (event) => this.#pressed(event);
    this.listeners = {
      cameras: () => this.#update(),
      tile: (event) => this.#draw(event),
      event: (event) => event.detail.source === this.camera && this.#loadEvents(),
    };
    addEventListener("keydown", this.keys);
    for (const [name, listener] of Object.entries(this.listeners)) live.addEventListener(name, listener);
    this.timer = setInterval(() => this.#tick(), TICK_MS);
    this.sizes = new ResizeObserver(() => this.#watch());
    this.sizes.observe(this.frame);
    this.#update();
    this.#loadEvents();
  }

  close() {
    removeEventListener("keydown", this.keys);
    clearInterval(this.timer);
    this.sizes.disconnect();
    for (const [name, listener] of Object.entries(this.listeners)) this.live.removeEventListener(name, listener);
    this.live.watch([]);
    if (document.fullscreenElement) document.exitFullscreen();
  }

  #heading() {
    const button = (name, symbol, action) =>
      h("button", { type: "button", class: "button quiet square", "aria-label": t(name), title: t(name), click: action }, icon(symbol));
    return heading(
      this.camera,
      this.state.element,
      h("span", { class: "space" }),
      button("camera.previous", "previous", () => this.#step(-1)),
      button("camera.next", "next", () => this.#step(1)),
      !isFleet() && button("camera.full", "expand", () => this.#toggleFull()),
      h("a", { class: "button back", href: "#/now", "aria-label": t("camera.all") }, icon("back"), h("span", {}, t("camera.all")), h("kbd", { class: "wide-only" }, "Esc")),
    );
  }

  #panel() {
    const links = [
      may("viewer") && h("a", { class: "button", href: `#/events?camera=${encodeURIComponent(this.camera)}` }, icon("events"), t("camera.events")),
      may("admin") && !isFleet() && h("a", { class: "button", href: `#/cameras/${encodeURIComponent(this.camera)}/zones` }, icon("zones"), t("cameras.zones")),
    ];
    return h(
      "aside",
      { class: "card panel", "aria-label": t("camera.panel") },
      !isFleet() && h("p", { class: "panel-line" }, this.people.element, this.age.element),
      this.facts,
      may("viewer") && [h("h2", {}, t("camera.open-events")), this.events],
      h("p", { class: "panel-links" }, links),
    );
  }

  #update() {
    const view = this.live.cameras.get(this.camera);
    if (!view) {
      if (this.live.cameras.size > 0) setText(this.veil, t("camera.missing"));
      return;
    }
    this.view = view;
    this.state.update(view);
    this.people.update(isSilent(view) ? null : (this.picture.people ?? view.people));
    this.frame.classList.toggle("silent", isSilent(view));
    if (this.picture.takenMs === null) setText(this.veil, veilText(view));
    this.#showFacts(view);
  }

  #showFacts(view) {
    const facts = isFleet() ? placedFacts(view) : runFacts(view);
    this.facts.replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  #draw(event) {
    if (event.detail.header.camera !== this.camera) return;
    event.preventDefault();
    this.picture.draw(event.detail, this.live).then(() => {
      this.veil.hidden = true;
      this.frame.style.setProperty("--ratio", `${this.picture.canvas.width} / ${this.picture.canvas.height}`);
      this.people.update(this.picture.people);
    });
  }

  #watch() {
    if (isFleet()) return;
    const pixels = this.frame.clientWidth * devicePixelRatio;
    const width = [320, 640, 960].find((choice) => choice >= pixels * 0.8) ?? 0;
    this.live.watch([{ camera: this.camera, width }], RATE);
  }

  #tick() {
    this.age.update(this.picture.ageS());
  }

  async #loadEvents() {
    if (!may("viewer")) return;
    try {
      const { events } = await get("events", { camera: this.camera, open: true, limit: EVENTS });
      const rows = events.map((event) => {
        const since = duration(event.began_utc ? (Date.now() - Date.parse(event.began_utc)) / 1000 : event.duration_s);
        return h("li", { class: "line" }, labelMark(event.label), h("span", {}, event.zone ?? ""), h("span", { class: "muted" }, since));
      });
      this.events.replaceChildren(...(rows.length ? rows : [h("li", { class: "muted" }, t("camera.no-events"))]));
    } catch {
      this.events.replaceChildren();
    }
  }

  #pressed(event) {
    const isTyping = event.target.closest?.("input, select, textarea, dialog");
    if (isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape" && !document.fullscreenElement) location.hash = "#/now";
    else if (event.key === "ArrowLeft") this.#step(-1);
    else if (event.key === "ArrowRight") this.#step(1);
  }

  #step(by) {
    const names = [...this.live.cameras.keys()];
    if (names.length < 2) return;
    const next = (names.indexOf(this.camera) + by + names.length) % names.length;
    location.replace(`#/now/${encodeURIComponent(names[next])}`);
  }

  #toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.frame.requestFullscreen?.();
  }
}

/** Return why there is no picture. */
function veilText(view) {
  if (isFleet()) return view.node === null ? t("fleet.no-node") : t("fleet.picture", { node: view.node });
  return isSilent(view) ? `${stateText(view)}: ${view.cause}` : t("tile.waiting");
}

function runFacts(view) {
  const dropped = Object.entries(view.dropped ?? {}).filter(([, count]) => count > 0);
  return [
    [t("fact.rate"), `${rate(view.fps_in)} / ${rate(view.fps_out)}`],
    [t("fact.dropped"), dropped.map(([cause, count]) => `${causeText("drop", cause)} ${count}`).join(", ") || "0"],
    [t("fact.size"), view.width ? `${view.width} × ${view.height}` : "–"],
    [t("fact.privacy"), tOr(`privacy.${view.privacy?.blur ?? "none"}`, view.privacy?.blur)],
    [t("fact.zones"), (view.zones ?? []).map((zone) => zone.name).join(", ") || t("fact.complete-frame")],
  ];
}

function placedFacts(view) {
  return [
    [t("cameras.column.node"), view.node ?? t("nodes.none")],
    [t("cameras.column.since"), view.since_utc === null ? "–" : shortTime(view.since_utc)],
    [t("fact.rate"), `${rate(view.fps_in)} / ${rate(view.fps_out)}`],
    [t("fact.dropped"), percent(view.dropped_share)],
    [t("fleet.cause"), view.cause || "–"],
  ];
}
