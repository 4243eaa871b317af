/** Now: all cameras as tiles, the worst first. */

import { h, heading, order, setText } from "../dom.js";
import { t, tn } from "../i18n.js";
import { isSilent, LABELS, PeopleChips, silentText } from "../labels.js";
import { isFleet } from "../session.js";
import { fleetNote, PlacedTile } from "./placed_tile.js";
import { Tile } from "./tile.js";

const TICK_MS = 250;
const LEAST_WIDTH = 260;
const GAP = 12;
const NARROW = 340;
const LINE_HEIGHT = { narrow: 58, wide: 38 };
const WIDTHS = [320, 640, 960];
const QUIET_MS = 1500;

let scrollTop = 0;
let lastOpened = null;

export function openNow(main, { live }) {
  const page = new Now(main, live);
  return { close: () => page.close(), scrollTop };
}

class Now {
  #tiles = new Map();
  #visible = new Set();
  #pointerMs = -Infinity;

  constructor(main, live) {
    this.live = live;
    this.summary = new Summary();
    this.grid = h("ul", { class: isFleet() ? "grid placed-grid" : "grid", "aria-label": t("page.now") });
    this.empty = h("p", { class: "empty", hidden: true }, t("now.empty"));
    main.append(heading(t("page.now"), this.summary.element), fleetNote(), this.grid, this.empty);
    this.grid.addEventListener("pointermove", () => (this.#pointerMs = performance.now()));
    this.grid.addEventListener("keydown", (event) => this.#moveFocus(event));
    this.sight = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "100px" });
    this.sizes = new ResizeObserver(() => this.#arrange());
    this.sizes.observe(main);
    this.listeners = { cameras: () => this.#update(), status: () => this.#update(), tile: (event) => this.#draw(event) };
    for (const [name, listener] of Object.entries(this.listeners)) live.addEventListener(name, listener);
    this.timer = setInterval(() => this.#tick(), TICK_MS);
    this.#update();
    this.#tiles.get(lastOpened)?.link.focus({ preventScroll: true });
    lastOpened = null;
  }

  close() {
    scrollTop = document.scrollingElement.scrollTop;
    lastOpened = [...this.#tiles.values()].find((tile) => tile.link === document.activeElement)?.camera ?? null;
    clearInterval(this.timer);
    this.sight.disconnect();
    this.sizes.disconnect();
    for (const [name, listener] of Object.entries(this.listeners)) this.live.removeEventListener(name, listener);
    this.live.watch([]);
  }

  #update() {
    const views = this.live.cameras;
    for (const [camera, tile] of this.#tiles) if (!views.has(camera)) this.#remove(camera, tile);
    const isFirst = this.#tiles.size === 0;
    for (const [camera, view] of views) {
      if (this.#tiles.has(camera)) this.#tiles.get(camera).update(view);
      else this.#add(view);
    }
    setText(this.empty, t(this.live.status === "absent" ? "now.absent" : "now.empty"));
    this.empty.hidden = views.size > 0 || !["open", "absent"].includes(this.live.status);
    this.summary.update([...this.#tiles.values()]);
    if (isFirst || performance.now() - this.#pointerMs > QUIET_MS) this.#sort();
    this.#arrange();
  }

  #add(view) {
    const tile = isFleet() ? new PlacedTile(view) : new Tile(view);
    this.#tiles.set(view.camera, tile);
    this.grid.append(tile.element);
    this.sight.observe(tile.element);
  }

  #remove(camera, tile) {
    this.sight.unobserve(tile.element);
    this.#visible.delete(tile.element);
    this.#tiles.delete(camera);
    tile.element.remove();
  }

  /** Tiles stay where they are while the pointer moves over them: a click must not open another camera. */
  #sort() {
    const listed = [...this.live.cameras.keys()].map((camera) => this.#tiles.get(camera));
    const sorted = listed.toSorted((one, other) => one.rank - other.rank);
    order(this.grid, sorted.map((tile) => tile.element));
  }

  /** Choose the number of columns with the widest tiles that fit the window, if they are wide enough. */
  #arrange() {
    if (isFleet()) return; // tiles without pictures need no choice of their width
    const count = this.#tiles.size;
    const width = this.grid.clientWidth;
    if (count === 0 || width === 0) return;
    const height = innerHeight - this.grid.getBoundingClientRect().top - document.scrollingElement.scrollTop - GAP;
    let best = { columns: Math.max(1, Math.floor((width + GAP) / (LEAST_WIDTH + GAP))), tile: 0 };
    best.tile = Math.floor((width - GAP * (best.columns - 1)) / best.columns);
    let widest = LEAST_WIDTH;
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      const across = (width - GAP * (columns - 1)) / columns;
      const line = across <= NARROW ? LINE_HEIGHT.narrow : LINE_HEIGHT.wide;
      const down = (((height - GAP * (rows - 1)) / rows - line) * 16) / 9;
      const tile = Math.floor(Math.min(across, down));
      if (tile > widest) {
        widest = tile;
        best = { columns, tile };
      }
    }
    this.grid.style.setProperty("--columns", best.columns);
    this.grid.style.setProperty("--tile-width", `${best.tile}px`);
    this.tileWidth = best.tile;
    this.#watch();
  }

  #seen(entries) {
    for (const entry of entries) {
      if (entry.isIntersecting) this.#visible.add(entry.target);
      else this.#visible.delete(entry.target);
    }
    this.#watch();
  }

  #watch() {
    if (isFleet()) return;
    const pixels = (this.tileWidth ?? 320) * devicePixelRatio;
    const width = WIDTHS.find((choice) => choice >= pixels * 0.8) ?? WIDTHS.at(-1);
    const seen = [...this.#tiles.values()].filter((tile) => this.#visible.has(tile.element));
    const cameras = seen.map((tile) => ({ camera: tile.camera, width })).sort((one, other) => (one.camera < other.camera ? -1 : 1));
    this.live.watch(cameras, cameras.length > 4 ? 5 : 8);
  }

  #draw(event) {
    const tile = this.#tiles.get(event.detail.header.camera);
    if (!tile) return;
    event.preventDefault();
    tile.draw(event.detail, this.live);
  }

  #tick() {
    const nowMs = performance.now();
    for (const tile of this.#tiles.values()) tile.tick(nowMs);
  }

  #moveFocus(event) {
    const links = [...this.grid.querySelectorAll(".tile")];
    const at = links.indexOf(document.activeElement);
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: links.length - 1 - at }[event.key];
    if (at < 0 || step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
  }
}

/** The numbers of cameras and people above the grid. */
class Summary {
  constructor() {
    this.cameras = h("span");
    this.silent = h("span", { class: "summary-silent", hidden: true });
    this.people = new PeopleChips();
    this.element = h("p", { class: "summary" }, this.cameras, this.silent, !isFleet() && this.people.element);
  }

  update(tiles) {
    const silent = tiles.filter((tile) => isSilent(tile.view));
    const people = Object.fromEntries(LABELS.map((label) => [label, 0]));
    for (const tile of tiles.filter((other) => !isSilent(other.view))) {
      for (const label of LABELS) people[label] += tile.view.people?.[label] ?? 0;
    }
    setText(this.cameras, tn("now.cameras", tiles.length));
    setText(this.silent, silentText(silent.length));
    this.silent.hidden = silent.length === 0;
    this.people.update(people);
  }
}
