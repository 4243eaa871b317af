/** The picture of a camera with its zones over it. The selected zone has handles that take the focus and can be dragged. */

import { h, order, setAttribute, setText, svg } from "../dom.js";
import { number } from "../format.js";
import { t } from "../i18n.js";
import { clamp, middle, moved } from "./zone_shapes.js";

const STEP = 0.01;
const LARGE_STEP = 0.05;
const IS_TOUCH = matchMedia("(pointer: coarse)").matches;
const HANDLE_PX = IS_TOUCH ? 13 : 8;
const MIDDLE_PX = IS_TOUCH ? 10 : 5.5;
const CLOSE_PX = 14;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class ZoneCanvas {
  #drag = null;
  #drawing = null;
  #pointer = null;
  #nodes = new Map();
  #corner = -1;

  constructor(editor) {
    this.editor = editor;
    this.picture = h("canvas", { width: 640, height: 360 });
    this.shapes = svg("svg", {
      class: "zone-shapes",
      viewBox: "0 0 640 360",
      role: "group",
      "aria-label": t("zones.picture-label"),
      pointerdown: (event) => this.#down(event),
      pointermove: (event) => this.#move(event),
      pointerup: () => this.#up(),
      pointercancel: () => this.#up(),
      dblclick: () => this.#finish(),
      contextmenu: (event) => this.#menu(event),
      keydown: (event) => this.#pressed(event),
      focusin: (event) => this.#choose(event.target),
    });
    this.element = h("div", { class: "zone-picture" }, this.picture, this.shapes);
    this.sizes = new ResizeObserver(() => this.show());
    this.sizes.observe(this.element);
    this.drawKeys = (event) => this.#drawingPressed(event);
    addEventListener("keydown", this.drawKeys);
  }

  close() {
    this.sizes.disconnect();
    removeEventListener("keydown", this.drawKeys);
  }

  async setPicture(blob) {
    const bitmap = await createImageBitmap(blob);
    this.picture.width = bitmap.width;
    this.picture.height = bitmap.height;
    this.picture.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    bitmap.close();
    this.element.style.setProperty("--ratio", `${this.picture.width} / ${this.picture.height}`);
    this.shapes.setAttribute("viewBox", `0 0 ${this.picture.width} ${this.picture.height}`);
    this.show();
  }

  /** Take the next clicks as the corners of a new zone. */
  beginDrawing() {
    this.#drawing = [];
    this.editor.selected = -1;
    this.editor.say(t("zones.drawing"));
    this.editor.show();
  }

  /** Show the zones. Nodes are used again, so that the focus stays where it is. */
  show() {
    const nodes = this.editor.zones.map((zone, at) => this.#zone(zone, at));
    if (this.#selected) nodes.push(...this.#handles(this.#selected));
    if (this.#drawing) nodes.push(...this.#unfinished());
    order(this.shapes, nodes);
    this.shapes.classList.toggle("drawing", this.#drawing !== null);
  }

  /** Return the node with a key, as it was made the first time, with these attributes. */
  #node(key, tag, attributes) {
    if (!this.#nodes.has(key)) this.#nodes.set(key, svg(tag));
    const node = this.#nodes.get(key);
    for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
    return node;
  }

  /** The number of units of the picture in a pixel of the screen. */
  get #unit() {
    return this.picture.width / (this.element.clientWidth || this.picture.width);
  }

  #units([x, y]) {
    return [x * this.picture.width, y * this.picture.height];
  }

  #points(corners) {
    return corners.map((corner) => this.#units(corner).join(",")).join(" ");
  }

  #zone(zone, at) {
    const [x, y] = this.#units(zone.polygon[0] ?? [0, 0]);
    const label = t("zones.shape", { zone: zone.name });
    const shape = { points: this.#points(zone.polygon), "data-key": `zone-${at}`, tabindex: 0, role: "button", "aria-label": label };
    const name = this.#node(`name-${at}`, "text", { x: x + 8 * this.#unit, y: y + 20 * this.#unit });
    setText(name, `${at + 1} ${zone.name}`);
    name.style.fontSize = `${13 * this.#unit}px`;
    name.style.strokeWidth = `${3 * this.#unit}px`;
    const kind = `zone zone-${at % 6}${at === this.editor.selected ? " selected" : ""}`;
    const group = this.#node(`group-${at}`, "g", { class: kind });
    order(group, [this.#node(`zone-${at}`, "polygon", shape), name]);
    return group;
  }

  #handles(zone) {
    const handles = zone.polygon.map((corner, at) => {
      const [x, y] = corner.map((value) => number(100 * value));
      const label = t("zones.corner", { at: at + 1, of: zone.polygon.length, zone: zone.name, x, y });
      return this.#handle(corner, `corner-${at}`, HANDLE_PX, "zone-corner", label);
    });
    const middles = zone.polygon.map((corner, at) => {
      const next = zone.polygon[(at + 1) % zone.polygon.length];
      return this.#handle(middle(corner, next), `middle-${at}`, MIDDLE_PX, "zone-middle", t("zones.insert", { at: at + 1 }));
    });
    return [...middles, ...handles];
  }

  #handle(corner, key, px, kind, label) {
    const [cx, cy] = this.#units(corner);
    const r = px * this.#unit;
    return this.#node(key, "circle", { cx, cy, r, class: kind, "data-key": key, tabindex: 0, role: "button", "aria-label": label });
  }

  #unfinished() {
    const corners = [...this.#drawing, ...(this.#pointer ? [this.#pointer] : [])];
    const dots = this.#drawing.map((corner) => {
      const [cx, cy] = this.#units(corner);
      return svg("circle", { cx, cy, r: HANDLE_PX * this.#unit, class: "zone-corner" });
    });
    return [svg("polyline", { points: this.#points(corners), class: "zone-line" }), ...dots];
  }

  #place(event) {
    const box = this.shapes.getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
  }

  #down(event) {
    if (event.button !== 0) return;
    const place = this.#place(event);
    if (this.#drawing) {
      event.preventDefault();
      this.#addCorner(place);
      return;
    }
    const [kind, text] = (event.target.getAttribute("data-key") ?? "").split("-");
    const at = Number(text);
    if (kind === "zone") this.editor.select(at);
    else if (kind === "middle") this.#insert(at);
    if (!kind) return;
    const corner = { corner: at, middle: at + 1, zone: null }[kind];
    this.#drag = { corner, from: place, polygon: this.#selected.polygon, isMoved: kind === "middle" };
    this.shapes.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const place = this.#place(event);
    if (this.#drawing) {
      this.#pointer = place;
      this.show();
    }
    if (!this.#drag) return;
    if (!this.#drag.isMoved) this.editor.remember();
    this.#drag.isMoved = true;
    const { corner, from, polygon } = this.#drag;
    if (corner === null) this.#selected.polygon = moved(polygon, place[0] - from[0], place[1] - from[1]);
    else this.#selected.polygon[corner] = place;
    this.editor.show();
  }

  #up() {
    this.#drag = null;
  }

  get #selected() {
    return this.editor.zones[this.editor.selected];
  }

  #addCorner(place) {
    const [first] = this.#drawing;
    const box = this.shapes.getBoundingClientRect();
    const isFirst = first && Math.hypot((place[0] - first[0]) * box.width, (place[1] - first[1]) * box.height) < CLOSE_PX;
    if (isFirst && this.#drawing.length > 2) this.#finish();
    else this.#drawing.push(place);
    this.show();
  }

  #finish() {
    if (!this.#drawing) return;
    const corners = this.#drawing.filter(([x, y], at, all) => at === 0 || Math.hypot(x - all[at - 1][0], y - all[at - 1][1]) > 0.004);
    this.#stopDrawing();
    if (corners.length > 2) this.editor.add(corners);
    else this.editor.show();
  }

  #stopDrawing() {
    this.#drawing = null;
    this.#pointer = null;
    this.editor.say(t("zones.hint"));
  }

  #drawingPressed(event) {
    if (!this.#drawing) return;
    if (event.key === "Enter" && this.#drawing.length > 2) {
      event.preventDefault();
      this.#finish();
    } else if (event.key === "Escape") {
      this.#stopDrawing();
      this.editor.show();
    }
  }

  #menu(event) {
    const [kind, at] = (event.target.getAttribute("data-key") ?? "").split("-");
    if (kind !== "corner" || event.pointerType === "touch") return;
    event.preventDefault();
    this.#removeCorner(Number(at));
  }

  #pressed(event) {
    const [kind, text] = (event.target.getAttribute?.("data-key") ?? "").split("-");
    if (!kind || this.#drawing || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = Number(text);
    const arrow = ARROWS[event.key];
    if (arrow && kind !== "middle") this.#nudge(kind, at, arrow.map((way) => way * (event.shiftKey ? LARGE_STEP : STEP)));
    else if (event.key === "Enter" || event.key === " ") this.#activate(kind, at);
    else if (event.key === "Delete" || event.key === "Backspace") this.#delete(kind, at);
    else return;
    event.preventDefault();
  }

  #nudge(kind, at, [dx, dy]) {
    this.editor.remember();
    if (kind === "zone") {
      this.editor.selected = at;
      this.#selected.polygon = moved(this.#selected.polygon, dx, dy);
    } else {
      const [x, y] = this.#selected.polygon[at];
      this.#selected.polygon[at] = [clamp(x + dx), clamp(y + dy)];
    }
    this.editor.show();
    const label = this.shapes.querySelector(`[data-key="${kind}-${at}"]`).getAttribute("aria-label");
    this.editor.say(label);
  }

  #activate(kind, at) {
    if (kind === "middle") {
      this.#insert(at);
      this.#focus(`corner-${at + 1}`);
    } else if (kind === "zone") {
      this.editor.select(at);
      this.#focus("corner-0");
    }
  }

  #delete(kind, at) {
    if (kind === "zone") this.editor.remove(at);
    else if (kind === "corner") this.#removeCorner(at);
  }

  #insert(at) {
    this.editor.remember();
    const { polygon } = this.#selected;
    polygon.splice(at + 1, 0, middle(polygon[at], polygon[(at + 1) % polygon.length]));
    this.editor.show();
  }

  #removeCorner(at) {
    if (this.#selected.polygon.length <= 3) {
      this.editor.say(t("zones.three"));
      return;
    }
    this.editor.remember();
    this.#selected.polygon.splice(at, 1);
    this.editor.show();
    this.#focus(`corner-${Math.min(at, this.#selected.polygon.length - 1)}`);
  }

  /** Keep which corner had the focus last: a button removes it where there is no keyboard. */
  #choose(target) {
    const [kind, at] = (target.getAttribute("data-key") ?? "").split("-");
    this.#corner = kind === "corner" ? Number(at) : -1;
    this.editor.show();
  }

  hasCorner() {
    return this.#corner >= 0 && this.#corner < (this.#selected?.polygon.length ?? 0);
  }

  removeLastCorner() {
    this.#removeCorner(this.#corner);
  }

  #focus(key) {
    this.shapes.querySelector(`[data-key="${key}"]`)?.focus();
  }
}
