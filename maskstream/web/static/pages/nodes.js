/** Nodes of a fleet: their load, their cameras, and what moved; administrators drain a node. */

import { get, nodePath, post, remove } from "../api.js";
import { h, heading, order, setAttribute, setText } from "../dom.js";
import { dateTime, duration, number, percent, rate } from "../format.js";
import { t, tn } from "../i18n.js";
import { icon } from "../icons.js";
import { StateBadge } from "../labels.js";
import { currentUser, isInUse, may } from "../session.js";
import { report, tell } from "../toast.js";
import { ask } from "./dialog.js";
import { fleetNote } from "./placed_tile.js";

const REFRESH_MS = 2000;
const NODE_ICONS = { up: "online", draining: "drain", lost: "offline", refused: "stalled" };
const CLOCK_OFF_S = 2;
const SILENT_S = 5;
const FULL = 0.9;

export function openNodes(main) {
  const page = new Nodes(main);
  return { close: () => page.close() };
}

class Nodes {
  #cards = new Map();

  constructor(main) {
    this.summary = h("p", { class: "summary" });
    this.grid = h("div", { class: "cards nodes" });
    this.unplaced = new CameraList();
    this.waiting = h("section", { class: "card unplaced", hidden: true }, h("h2", {}, t("nodes.unplaced")), this.unplaced.element);
    this.moves = h("section", { class: "card moves", hidden: true });
    main.append(heading(t("page.nodes"), this.summary), fleetNote(), this.waiting, this.grid, this.moves);
    this.timer = setInterval(() => isInUse() && this.#load(), REFRESH_MS);
    this.#load();
  }

  close() {
    clearInterval(this.timer);
  }

  async #load() {
    try {
      this.#show(await get("nodes"));
    } catch (problem) {
      report(problem);
    }
  }

  #show({ site, nodes, cameras, moves, stale_records: stale }) {
    for (const name of this.#cards.keys()) if (!nodes.some((each) => each.node === name)) this.#cards.delete(name);
    for (const node of nodes) {
      if (!this.#cards.has(node.node)) this.#cards.set(node.node, new NodeCard(node.node, (isOn) => this.#drain(node.node, isOn)));
      this.#cards.get(node.node).update(node, cameras.filter((camera) => camera.node === node.node));
    }
    order(this.grid, nodes.map((node) => this.#cards.get(node.node).element));
    const unplaced = cameras.filter((camera) => camera.node === null);
    this.unplaced.update(unplaced);
    this.waiting.hidden = unplaced.length === 0;
    this.#summarise(site, nodes, cameras, stale);
    this.#showMoves(moves);
  }

  #summarise(site, nodes, cameras, stale) {
    const down = nodes.filter((node) => node.state === "lost" || node.state === "refused").length;
    const facts = [h("b", {}, site), h("span", {}, tn("nodes.nodes", nodes.length)), h("span", {}, tn("now.cameras", cameras.length))];
    if (down) facts.push(h("span", { class: "summary-silent" }, tn("nodes.down", down)));
    if (stale) facts.push(h("span", { title: t("nodes.stale.meaning") }, tn("nodes.stale", stale)));
    this.summary.replaceChildren(...facts);
  }

  #showMoves(moves) {
    const names = ["camera", "time", "path", "why"];
    const head = h("tr", {}, names.map((name) => h("th", { scope: "col" }, t(`nodes.move.${name}`))));
    const cell = (name, ...content) => h("td", { class: `col-${name}`, "data-title": t(`nodes.move.${name}`) }, content);
    const rows = moves.map((move) => {
      const path = `${move.from_node ?? t("nodes.none")} → ${move.to_node ?? t("nodes.none")}`;
      return h("tr", {}, h("th", { scope: "row" }, move.camera), cell("time", dateTime(move.at_utc)), cell("path", path), cell("why", move.why));
    });
    const table = h("table", { class: "table" }, h("thead", {}, head), h("tbody", {}, rows));
    this.moves.replaceChildren(h("h2", {}, t("nodes.moves")), h("div", { class: "scroll" }, table));
    this.moves.hidden = moves.length === 0;
  }

  async #drain(node, isOn) {
    try {
      if (isOn && !(await ask(t("nodes.drain.title", { node }), t("nodes.drain.text"), t("nodes.drain")))) return;
      await (isOn ? post : remove)(nodePath(node, "/drain"));
      tell(t(isOn ? "nodes.drained" : "nodes.undrained", { node }));
      this.#load();
    } catch (problem) {
      report(problem);
    }
  }
}

/** One node. */
class NodeCard {
  constructor(name, drain) {
    this.state = h("span");
    this.reason = h("p", { class: "muted reason" });
    this.load = h("meter", { min: 0, max: 1, high: FULL, optimum: 0 });
    this.used = h("span");
    this.facts = h("dl", { class: "facts" });
    this.cameras = new CameraList();
    this.isDraining = false;
    this.button = h("button", { type: "button", class: "button", hidden: !mayDrain(), click: () => drain(!this.isDraining) });
    this.element = h(
      "section",
      { class: "card node", "aria-label": name },
      h("div", { class: "node-head" }, h("h2", {}, name), this.state, h("span", { class: "space" }), this.button),
      this.reason,
      h("div", { class: "disk" }, this.load, this.used),
      this.facts,
      this.cameras.element,
    );
  }

  update(node, cameras) {
    this.isDraining = node.is_draining;
    this.state.className = `state node-${node.state}`;
    if (this.shown !== node.state) this.state.replaceChildren(icon(NODE_ICONS[node.state]), t(`node.${node.state}`));
    this.shown = node.state;
    setText(this.reason, node.reason);
    this.reason.hidden = node.reason === "";
    setText(this.button, t(node.is_draining ? "nodes.undrain" : "nodes.drain"));
    setAttribute(this.button, "aria-label", `${this.button.textContent}: ${node.node}`);
    this.#showLoad(node);
    this.#showFacts(node);
    this.cameras.update(cameras);
  }

  #showLoad({ used_fps: used, capacity_fps: capacity }) {
    const share = capacity > 0 ? used / capacity : null;
    const text = share === null ? t("nodes.load-unknown", { used: rate(used) }) : t("nodes.load", { used: rate(used), capacity: rate(capacity), percent: percent(share) });
    this.load.value = Math.min(1, share ?? 0);
    setAttribute(this.load, "aria-label", text);
    setText(this.used, text);
    this.used.className = share !== null && share > FULL ? "state state-stalled" : "muted";
  }

  #showFacts(node) {
    const marked = (isMarked, text) => (isMarked ? h("span", { class: "state state-stalled" }, icon("stalled"), text) : text);
    const clock = `${node.clock_offset_s > 0 ? "+" : ""}${number(node.clock_offset_s, 2)} ${t("unit.s")}`;
    const facts = [
      [t("nodes.heard"), node.heard_s === null ? t("nodes.never") : marked(node.heard_s > SILENT_S, t("nodes.ago", { time: duration(node.heard_s) }))],
      [t("nodes.cameras"), number(node.cameras)],
      [t("nodes.waiting"), number(node.waiting)],
      [t("nodes.clock"), marked(Math.abs(node.clock_offset_s) > CLOCK_OFF_S, clock)],
      [t("nodes.version"), node.version || "–"],
    ];
    this.facts.replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }
}

/** The cameras of a node, with their states and rates. */
class CameraList {
  #rows = new Map();

  constructor() {
    this.element = h("ul", { class: "placed-list" });
  }

  update(cameras) {
    for (const name of this.#rows.keys()) if (!cameras.some((each) => each.camera === name)) this.#rows.delete(name);
    for (const camera of cameras) {
      if (!this.#rows.has(camera.camera)) this.#rows.set(camera.camera, new CameraLine(camera.camera));
      this.#rows.get(camera.camera).update(camera);
    }
    order(this.element, cameras.map((camera) => this.#rows.get(camera.camera).element));
  }
}

class CameraLine {
  constructor(name) {
    this.state = new StateBadge();
    this.rate = h("span", { class: "muted rate" });
    this.cause = h("span", { class: "muted parts" });
    this.element = h("li", {}, h("a", { href: `#/now/${encodeURIComponent(name)}` }, name), this.state.element, this.rate, this.cause);
  }

  update(camera) {
    this.state.update(camera);
    setText(this.rate, camera.node === null ? "" : t("nodes.rate", { rate: `${rate(camera.fps_in)} / ${rate(camera.fps_out)}` }));
    setText(this.cause, camera.cause);
  }
}

function mayDrain() {
  return may("admin") && currentUser().cameras === null;
}
