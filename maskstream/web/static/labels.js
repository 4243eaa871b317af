/** Labels of people and states of cameras: each has a colour, a symbol and a text. */

import { h, setAttribute, setText, spoken } from "./dom.js";
import { duration, shortTime } from "./format.js";
import { t, tn, tOr } from "./i18n.js";
import { icon } from "./icons.js";
import { isFleet } from "./session.js";

export const LABELS = ["no_mask", "incorrect", "mask", "unknown"];
const SILENT = new Set(["stalled", "reconnecting", "offline", "unplaced", "unknown"]);

/** Return the symbol and the text of a label. */
export function labelMark(label) {
  return h("span", { class: `label label-${label}` }, h("span", { class: "label-symbol" }, icon(label)), t(`label.${label}`));
}

/** Numbers of people per label. Labels without people are dimmed; unknown is shown only with people. */
export class PeopleChips {
  #counts = new Map();

  constructor() {
    this.element = h("span", { class: "people" });
    for (const label of LABELS) {
      const count = h("span", { class: "chip-count" }, "0");
      const chip = h("span", { class: `chip chip-${label} none`, hidden: label === "unknown" }, icon(label), count, spoken(` ${t(`label.${label}`)} `));
      chip.title = t(`label.${label}`);
      this.#counts.set(label, { chip, count });
      this.element.append(chip);
    }
  }

  update(people) {
    for (const [label, { chip, count }] of this.#counts) {
      const number = people?.[label] ?? 0;
      setText(count, String(number));
      chip.classList.toggle("none", number === 0);
      if (label === "unknown") chip.hidden = number === 0;
    }
  }
}

/** Return the numbers of people as a sentence for screen readers. */
export function peopleText(people) {
  const counted = LABELS.filter((label) => people?.[label] > 0);
  if (counted.length === 0) return t("people.none");
  return counted.map((label) => tn(`people.${label}`, people[label])).join(", ");
}

/** Return whether the camera should deliver frames and does not. */
export function isSilent(view) {
  return SILENT.has(view.state);
}

/** Return how many cameras should deliver frames and do not, as a text. */
export function silentText(count) {
  return isFleet() ? tn("fleet.silent", count) : tn("now.silent", count);
}

/** The state of a camera with its symbol. */
export class StateBadge {
  #state = "";

  constructor() {
    this.symbol = h("span", { class: "state-symbol" });
    this.text = h("span");
    this.element = h("span", { class: "state" }, this.symbol, this.text);
  }

  update(view) {
    if (view.state !== this.#state) {
      this.#state = view.state;
      this.element.className = `state state-${view.state}`;
      this.symbol.replaceChildren(icon(view.state));
    }
    setText(this.text, stateText(view));
    setAttribute(this.element, "title", view.cause || null);
  }
}

/** Return the name of the state, with its beginning unless frames arrive or the source has ended. */
export function stateText(view) {
  const state = t(`state.${view.state}`);
  if (view.state === "online" || view.state === "ended" || typeof view.state_s !== "number") return state;
  const since = shortTime(Date.now() - 1000 * view.state_s);
  return t("state.since", { state, since, time: duration(view.state_s) });
}

/** Return the cause of a dropped frame, of the end of an event ... in the user's language where a text exists. */
export function causeText(kind, cause) {
  return tOr(`${kind}.${cause}`, String(cause).replaceAll("_", " "));
}
