/** The picture of one camera: its newest frame, its people and the age of the frame. */

import { h, setAttribute, setText } from "../dom.js";
import { age } from "../format.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { isSilent, PeopleChips, peopleText, StateBadge, stateText } from "../labels.js";

const OLD_S = 3;
const HELD_MS = 5000;

/** Draws the tiles of one camera onto a canvas and acknowledges each of them. */
export class Picture {
  #drawn = -1;

  constructor() {
    this.canvas = h("canvas", { width: 16, height: 9 });
    this.takenMs = null;
    this.people = null;
  }

  async draw({ header, jpeg, takenMs }, live) {
    try {
      const bitmap = await createImageBitmap(jpeg);
      if (header.frame >= this.#drawn || takenMs > this.takenMs) {
        this.#paint(bitmap);
        this.#drawn = header.frame;
        this.takenMs = takenMs;
        this.people = header.people;
      }
      bitmap.close();
    } finally {
      live.acknowledge(header);
    }
  }

  #paint(bitmap) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
  }

  /** Return the age of the drawn frame in seconds; null before the first. */
  ageS(nowMs = performance.now()) {
    return this.takenMs === null ? null : (nowMs - this.takenMs) / 1000;
  }
}

/** The age of a frame, marked where it is old. */
export class AgeText {
  constructor() {
    this.text = h("span", { class: "age-text" });
    this.element = h("span", { class: "age", title: t("tile.age") }, icon("clock"), this.text);
  }

  update(seconds) {
    setText(this.text, seconds === null ? "" : age(seconds));
    this.element.classList.toggle("none", seconds === null);
    this.element.classList.toggle("old", seconds !== null && seconds > OLD_S);
  }
}

/** A tile of the grid: a link to the page of its camera. */
export class Tile {
  #rank = 9;
  #rankMs = 0;

  constructor(view) {
    this.camera = view.camera;
    this.picture = new Picture();
    this.people = new PeopleChips();
    this.age = new AgeText();
    this.state = new StateBadge();
    this.cause = h("span", { class: "tile-cause" });
    this.veil = h("span", { class: "tile-veil" }, this.state.element, this.cause);
    this.link = h(
      "a",
      { class: "tile", href: `#/now/${encodeURIComponent(view.camera)}` },
      h("span", { class: "tile-picture" }, this.picture.canvas, this.veil),
      h("span", { class: "tile-line" }, h("b", { class: "tile-name", title: view.camera }, view.camera), this.people.element, this.age.element),
    );
    this.element = h("li", {}, this.link);
    this.update(view);
  }

  /** Show the view that the server sent of the camera. */
  update(view) {
    this.view = view;
    this.state.update(view);
    const isWaiting = view.state === "online" && this.picture.takenMs === null;
    setText(this.cause, isWaiting ? t("tile.waiting") : silentCause(view));
    this.state.element.hidden = isWaiting;
    this.veil.hidden = view.state === "online" && this.picture.takenMs !== null;
    const people = isSilent(view) ? null : (this.picture.people ?? view.people);
    this.people.update(people);
    this.link.classList.toggle("silent", isSilent(view));
    this.link.classList.toggle("alarm", people?.no_mask > 0);
    this.link.classList.toggle("notice", people?.incorrect > 0 && !(people?.no_mask > 0));
    setAttribute(this.link, "aria-label", t("tile.spoken", { camera: view.camera, state: stateText(view), people: peopleText(people) }));
    this.#updateRank(people);
  }

  async draw(tile, live) {
    await this.picture.draw(tile, live);
    if (this.view.state === "online") this.veil.hidden = true;
    if (!isSilent(this.view)) this.people.update(this.picture.people);
  }

  tick(nowMs) {
    const seconds = this.picture.ageS(nowMs);
    this.age.update(isSilent(this.view) ? (seconds ?? this.view.frame_age_s) : seconds);
  }

  /** 0 is the worst. A better rank is taken only after a while, so that tiles do not jump. */
  #updateRank(people) {
    const rank = rankOf(this.view, people);
    const nowMs = performance.now();
    if (rank <= this.#rank || nowMs - this.#rankMs > HELD_MS) {
      this.#rank = rank;
      this.#rankMs = nowMs;
    }
  }

  get rank() {
    return this.#rank;
  }
}

function silentCause(view) {
  return isSilent(view) ? view.cause : "";
}

function rankOf(view, people) {
  if (isSilent(view)) return 0;
  if (people?.no_mask > 0) return 1;
  if (people?.incorrect > 0) return 2;
  if (view.state === "ended") return 6;
  if (view.state === "connecting") return 4;
  return view.frame_age_s > OLD_S ? 3 : 5;
}
