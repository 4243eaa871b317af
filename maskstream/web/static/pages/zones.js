/** The editor of a camera's zones: polygons over its picture, edited with the mouse, touch or the keyboard alone. */

import { cameraPath, get, getImage, put } from "../api.js";
import { h, heading, setText } from "../dom.js";
import { t, tn } from "../i18n.js";
import { icon } from "../icons.js";
import { report, tell } from "../toast.js";
import { ZoneCanvas } from "./zone_canvas.js";
import { fault, freeName, rounded } from "./zone_shapes.js";

const RECTANGLE = [[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]];
const MOST_UNDO = 100;

export function openZones(main, { parts }) {
  const page = new ZonesPage(main, parts[1]);
  return { close: () => page.close(), title: t("zones.title", { camera: parts[1] }), isDirty: () => page.isDirty() };
}

class ZonesPage {
  #history = [];
  #saved = "[]";
  #etag = null;

  constructor(main, camera) {
    this.camera = camera;
    this.zones = [];
    this.selected = -1;
    this.canvas = new ZoneCanvas(this);
    this.list = h("ol", { class: "zone-list" });
    this.note = h("p", { class: "hint", role: "status" });
    this.buttons = this.#createButtons();
    const { draw, rectangle, corner, picture, undo, save } = this.buttons;
    main.append(
      heading(t("zones.title", { camera }), h("span", { class: "space" }), h("a", { class: "button", href: "#/cameras" }, icon("back"), t("page.cameras"))),
      h(
        "div",
        { class: "zone-editor" },
        h("div", { class: "zone-work" }, h("div", { class: "zone-tools", role: "toolbar", "aria-label": t("zones.tools") }, draw, rectangle, corner, undo, picture), this.canvas.element, this.note),
        h("aside", { class: "card panel", "aria-label": t("zones.list") }, h("h2", {}, t("zones.list")), this.list, h("p", { class: "hint" }, t("zones.meaning")), save),
      ),
    );
    this.keys = (event) => this.#pressed(event);
    this.unload = (event) => this.isDirty() && event.preventDefault();
    addEventListener("keydown", this.keys);
    addEventListener("beforeunload", this.unload);
    this.#load();
    this.say(t("zones.hint"));
  }

  close() {
    removeEventListener("keydown", this.keys);
    removeEventListener("beforeunload", this.unload);
    this.canvas.close();
  }

  isDirty() {
    return JSON.stringify(this.zones) !== this.#saved;
  }

  #createButtons() {
    const button = (text, symbol, action, kind = "", disabled = true) =>
      h("button", { type: "button", class: `button ${kind}`, disabled, click: action }, icon(symbol), t(text));
    return {
      draw: button("zones.draw", "zones", () => this.canvas.beginDrawing()),
      rectangle: button("zones.rectangle", "plus", () => this.add(RECTANGLE)),
      corner: button("zones.remove-corner", "close", () => this.canvas.removeLastCorner()),
      undo: button("zones.undo", "undo", () => this.undo()),
      picture: button("zones.picture", "reconnecting", () => this.#loadPicture(), "", false),
      save: button("zones.save", "mask", () => this.#save(), "primary"),
    };
  }

  async #load() {
    this.#loadPicture();
    try {
      const stored = await get(cameraPath(this.camera));
      this.#take(stored);
    } catch (problem) {
      report(problem);
    }
  }

  #take(stored) {
    this.#etag = stored.etag;
    this.buttons.draw.disabled = stored.editable === false;
    this.buttons.rectangle.disabled = stored.editable === false;
    if (stored.obstacle) this.say(stored.obstacle);
    this.zones = zoneList(stored.zones);
    this.#saved = JSON.stringify(this.zones);
    this.#history = [];
    this.selected = this.zones.length ? 0 : -1;
    this.show();
  }

  async #loadPicture() {
    try {
      const { blob } = await getImage(cameraPath(this.camera, "/latest.jpg"));
      await this.canvas.setPicture(blob);
    } catch (problem) {
      report(problem);
    }
  }

  async #save() {
    const zones = this.zones.map((zone) => ({ name: zone.name.trim(), polygon: rounded(zone.polygon) }));
    this.buttons.save.disabled = true;
    try {
      const stored = await put(cameraPath(this.camera), { url: null, zones, settings: null, if_match: this.#etag });
      this.#take(stored);
      tell(t("zones.saved", { camera: this.camera }));
    } catch (problem) {
      report(problem);
    }
    this.show();
  }

  /** Keep the zones as they are for undo. Called before each change. */
  remember() {
    this.#history.push(JSON.stringify(this.zones));
    if (this.#history.length > MOST_UNDO) this.#history.shift();
  }

  undo() {
    const before = this.#history.pop();
    if (before === undefined) return;
    this.zones = JSON.parse(before);
    this.selected = Math.min(this.selected, this.zones.length - 1);
    this.show();
  }

  add(polygon) {
    this.remember();
    this.zones.push({ name: freeName(t("zones.word"), this.zones), polygon: polygon.map((corner) => [...corner]) });
    this.select(this.zones.length - 1);
    this.list.lastElementChild.querySelector("input").select();
  }

  select(at) {
    this.selected = at;
    this.show();
  }

  remove(at) {
    this.remember();
    this.zones.splice(at, 1);
    this.selected = Math.min(this.selected, this.zones.length - 1);
    this.show();
    (this.list.querySelectorAll("input")[Math.min(at, this.zones.length - 1)] ?? this.buttons.rectangle).focus();
  }

  say(text) {
    setText(this.note, text);
  }

  /** Show the zones after a change. */
  show() {
    this.canvas.show();
    if (this.list.children.length !== this.zones.length) this.list.replaceChildren(...this.zones.map((_, at) => this.#item(at)));
    for (const [at, zone] of this.zones.entries()) this.#updateItem(this.list.children[at], zone, at);
    const isRight = this.zones.every((zone) => fault(zone, this.zones) === null);
    this.buttons.save.disabled = !isRight || !this.isDirty();
    this.buttons.undo.disabled = this.#history.length === 0;
    this.buttons.corner.disabled = !this.canvas.hasCorner();
  }

  #item(at) {
    const id = `zone-name-${at}`;
    const input = h("input", {
      id,
      "aria-label": t("zones.name"),
      autocomplete: "off",
      focus: () => this.selected !== at && this.select(at),
      input: () => {
        this.zones[at].name = input.value;
        this.show();
      },
    });
    const remove = h("button", { type: "button", class: "button quiet square", click: () => this.remove(at) }, icon("remove"));
    return h("li", {}, h("span", { class: `zone-key zone-${at % 6}` }, String(at + 1)), input, h("span", { class: "muted corners" }), remove, h("p", { class: "form-problem" }));
  }

  #updateItem(item, zone, at) {
    const wrong = fault(zone, this.zones);
    item.classList.toggle("selected", at === this.selected);
    const input = item.querySelector("input");
    if (input.value !== zone.name) input.value = zone.name;
    setText(item.querySelector(".corners"), tn("zones.corners", zone.polygon.length));
    item.querySelector("button").setAttribute("aria-label", t("zones.remove", { zone: zone.name }));
    setText(item.querySelector(".form-problem"), wrong ? t(wrong) : "");
  }

  #pressed(event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "z" && !event.target.closest("input")) {
      event.preventDefault();
      this.undo();
    }
  }
}

/** Return zones as a list; the server may send them by name. */
function zoneList(zones) {
  if (Array.isArray(zones)) return zones;
  return Object.entries(zones ?? {}).map(([name, polygon]) => ({ name, polygon }));
}
