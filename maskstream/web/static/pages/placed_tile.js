/** A camera of a fleet on the page Now: its state and its node. Its picture stays on the node. */

import { h, setAttribute, setText } from "../dom.js";
import { t } from "../i18n.js";
import { isSilent, StateBadge, stateText } from "../labels.js";
import { isFleet } from "../session.js";

/** Return the sentence that says where pictures are; empty outside a fleet. */
export function fleetNote() {
  return h("p", { class: "hint note", hidden: !isFleet() }, t("fleet.pictures"));
}

/** Stands in the grid as a `Tile` does. */
export class PlacedTile {
  constructor(view) {
    this.camera = view.camera;
    this.state = new StateBadge();
    this.node = h("span", { class: "muted" });
    this.cause = h("span", { class: "muted parts" });
    this.link = h(
      "a",
      { class: "tile placed", href: `#/now/${encodeURIComponent(view.camera)}` },
      h("b", { class: "tile-name", title: view.camera }, view.camera),
      h("span", { class: "placed-line" }, this.state.element, this.node),
      this.cause,
    );
    this.element = h("li", {}, this.link);
    this.update(view);
  }

  update(view) {
    this.view = view;
    this.state.update(view);
    setText(this.node, view.node ?? "");
    setText(this.cause, view.cause);
    this.link.classList.toggle("silent", isSilent(view));
    setAttribute(this.link, "aria-label", t("fleet.spoken", { camera: view.camera, state: stateText(view), node: view.node ?? t("nodes.none") }));
  }

  tick() {}

  /** 0 is the worst. */
  get rank() {
    return isSilent(this.view) ? 0 : 1;
  }
}
