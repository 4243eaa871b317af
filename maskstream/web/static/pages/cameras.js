/** Cameras: state, rates, dropped frames and outages; administrators add, edit and remove cameras. */

import { cameraPath, get, remove } from "../api.js";
import { h, heading, order, setAttribute, setText } from "../dom.js";
import { duration, number, percent, rate, shortTime } from "../format.js";
import { t, tn } from "../i18n.js";
import { icon } from "../icons.js";
import { causeText, isSilent, silentText, StateBadge } from "../labels.js";
import { isFleet, may } from "../session.js";
import { report, tell } from "../toast.js";
import { editCamera } from "./camera_form.js";
import { ask } from "./dialog.js";
import { fleetNote } from "./placed_tile.js";

const RUN_COLUMNS = ["camera", "state", "rate", "dropped", "outage", "reconnects", "stages"];
const FLEET_COLUMNS = ["camera", "state", "node", "rate", "dropped", "outage", "since"];

export function openCameras(main, { live }) {
  const page = new Cameras(main, live);
  return { close: () => page.close() };
}

class Cameras {
  #rows = new Map();

  constructor(main, live) {
    this.live = live;
    this.summary = h("p", { class: "summary" });
    this.body = h("tbody");
    const head = columns().map((name) => h("th", { scope: "col", class: `col-${name}` }, t(`cameras.column.${name}`)));
    if (mayEdit()) head.push(h("th", { scope: "col" }, h("span", { class: "spoken" }, t("cameras.actions"))));
    const add = mayEdit() && h("button", { type: "button", class: "button primary", click: () => this.#add() }, icon("plus"), t("cameras.add"));
    this.obstacle = h("p", { class: "hint" }, isFleet() && may("admin") ? t("fleet.site-file") : "");
    this.empty = h("p", { class: "empty", hidden: true }, t("now.empty"));
    main.append(
      heading(t("page.cameras"), this.summary, h("span", { class: "space" }), this.obstacle, add),
      fleetNote(),
      h("div", { class: "card scroll" }, h("table", { class: "table cameras" }, h("thead", {}, h("tr", {}, head)), this.body)),
      this.empty,
    );
    this.listener = () => this.#update();
    live.addEventListener("cameras", this.listener);
    this.#update();
    if (add) this.#checkObstacle(add);
  }

  /** Say why no camera can be added, where none can. */
  async #checkObstacle(add) {
    try {
      const { obstacle } = await get("cameras");
      setText(this.obstacle, obstacle);
      add.disabled = obstacle !== "";
    } catch (problem) {
      report(problem);
    }
  }

  close() {
    this.live.removeEventListener("cameras", this.listener);
  }

  #update() {
    const views = [...this.live.cameras.values()];
    for (const camera of this.#rows.keys()) if (!this.live.cameras.has(camera)) this.#rows.delete(camera);
    for (const view of views) {
      if (!this.#rows.has(view.camera)) this.#rows.set(view.camera, new Row(view, (action) => this.#act(action, view.camera)));
      this.#rows.get(view.camera).update(view);
    }
    order(this.body, views.map((view) => this.#rows.get(view.camera).element));
    const silent = views.filter(isSilent).length;
    const counted = [tn("now.cameras", views.length), ...(silent ? [silentText(silent)] : [])];
    setText(this.summary, counted.join(" · "));
    this.empty.hidden = views.length > 0 || this.live.status !== "open";
  }

  #add() {
    editCamera(null).then((saved) => saved && tell(t("cameras.added", { camera: saved })));
  }

  async #act(action, camera) {
    try {
      if (action === "edit") {
        const stored = await get(cameraPath(camera));
        const saved = await editCamera({ ...stored, camera });
        if (saved) tell(t("cameras.saved", { camera }));
      } else if (await ask(t("cameras.remove.title", { camera }), t("cameras.remove.text"), t("cameras.remove"))) {
        const { etag } = await get(cameraPath(camera));
        await remove(cameraPath(camera), { if_match: etag });
        tell(t("cameras.removed", { camera }));
      }
    } catch (problem) {
      report(problem);
    }
  }
}

function columns() {
  return isFleet() ? FLEET_COLUMNS : RUN_COLUMNS;
}

/** The cameras of a fleet are edited in its site file. */
function mayEdit() {
  return may("admin") && !isFleet();
}

/** The line of one camera. */
class Row {
  constructor(view, act) {
    this.state = new StateBadge();
    this.source = h("span", { class: "muted source" });
    this.cells = Object.fromEntries(
      columns().map((name) => [name, h(name === "camera" ? "th" : "td", { class: `col-${name}`, scope: name === "camera" ? "row" : null })]),
    );
    for (const name of columns().slice(2)) this.cells[name].dataset.title = t(`cameras.column.${name}`);
    this.cells.camera.append(h("a", { href: `#/now/${encodeURIComponent(view.camera)}` }, view.camera), this.source);
    this.cause = h("span", { class: "muted parts" });
    this.cells.state.append(this.state.element, this.cause);
    this.element = h("tr", {}, Object.values(this.cells), mayEdit() && h("td", { class: "row-actions" }, this.#actions(view, act)));
  }

  #actions(view, act) {
    const disabled = view.editable === false;
    const title = (name) => (disabled ? t("cameras.fixed") : t(name));
    const button = (name, symbol, action) =>
      h(
        "button",
        { type: "button", class: "button quiet square", disabled, title: title(name), "aria-label": `${t(name)}: ${view.camera}`, click: action },
        icon(symbol),
      );
    return [
      button("cameras.zones", "zones", () => (location.hash = `#/cameras/${encodeURIComponent(view.camera)}/zones`)),
      button("cameras.edit", "edit", () => act("edit")),
      button("cameras.remove", "remove", () => act("remove")),
    ];
  }

  update(view) {
    this.state.update(view);
    setText(this.source, view.source ?? "");
    setAttribute(this.source, "title", view.source);
    this.#fill("rate", `${rate(view.fps_in)} / ${rate(view.fps_out)}`);
    this.#fill("outage", ...outageText(view.last_outage));
    if (isFleet()) this.#updatePlaced(view);
    else this.#updateRun(view);
  }

  #updatePlaced(view) {
    this.#fill("node", view.node ?? t("nodes.none"));
    this.#fill("dropped", percent(view.dropped_share));
    if (view.since_utc === null) this.#fill("since", "–");
    else this.#fill("since", shortTime(view.since_utc), t("fleet.epoch", { epoch: number(view.epoch) }));
    setText(this.cause, view.cause);
  }

  #updateRun(view) {
    this.#fill("dropped", ...sumText("drop", view.dropped ?? {}));
    this.#fill("reconnects", number(view.reconnects_last_hour ?? 0));
    const [total, stages] = sumText("stage", view.stage_ms ?? {});
    this.#fill("stages", stages ? `${total} ms` : "–", stages);
  }

  /** Show a value and what it consists of. */
  #fill(name, value, parts = "") {
    const cell = this.cells[name];
    if (!cell.firstChild) cell.append(h("span", { class: "value" }, h("span"), h("span", { class: "muted parts" })));
    setText(cell.firstChild.firstChild, value);
    setText(cell.firstChild.lastChild, parts);
  }
}

/** Return a sum, and its parts by name. */
function sumText(kind, numbers) {
  const parts = Object.entries(numbers).filter(([, value]) => value > 0);
  const total = parts.reduce((sum, [, value]) => sum + value, 0);
  if (kind === "drop" && parts.length === 1) return [number(total), causeText(kind, parts[0][0])];
  return [number(total), parts.map(([name, value]) => `${causeText(kind, name)} ${number(value)}`).join(" · ")];
}

/** Return the time of an outage, and its cause. */
function outageText(outage) {
  if (!outage) return [t("cameras.no-outage")];
  const began = shortTime(outage.began_utc);
  if (!outage.ended_utc) return [t("cameras.outage-open", { began }), outage.cause];
  const seconds = (Date.parse(outage.ended_utc) - Date.parse(outage.began_utc)) / 1000;
  return [t("cameras.outage", { began, time: duration(seconds) }), outage.cause];
}
