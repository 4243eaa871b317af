/** The frame around the pages: navigation, connection, user. It opens the page that the address names after its #. */

import { h } from "./dom.js";
import { chooseLanguage, language, languages, t } from "./i18n.js";
import { icon } from "./icons.js";
import { openAudit } from "./pages/audit.js";
import { openCamera } from "./pages/camera.js";
import { openCameras } from "./pages/cameras.js";
import { ask } from "./pages/dialog.js";
import { openEvents } from "./pages/events.js";
import { openNodes } from "./pages/nodes.js";
import { openNow } from "./pages/now.js";
import { openSystem } from "./pages/system.js";
import { openZones } from "./pages/zones.js";
import { currentUser, isFleet, may, signOut } from "./session.js";
import { report } from "./toast.js";

const PAGES = [
  { name: "now", role: "display" },
  { name: "events", role: "viewer" },
  { name: "cameras", role: "viewer" },
  { name: "nodes", role: "viewer", inFleet: true },
  { name: "system", role: "viewer" },
  { name: "audit", role: "admin" },
];

const CONNECTION_ICONS = { connecting: "connecting", open: "online", lost: "reconnecting", absent: "ended" };

/** Return the page of an address: its names and its query. */
export function parseHash(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  return { parts, query: new URLSearchParams(query) };
}

export class Shell {
  #page = null;
  #hash = "";
  #links = new Map();
  #routed = () => this.#route();

  constructor(app, live, signedOut) {
    this.live = live;
    this.main = h("main", { id: "main", tabIndex: -1 });
    this.connection = h("span", { class: "connection", role: "status" });
    app.replaceChildren(this.#skipLink(), this.#header(signedOut), this.#navigation(), this.main);
    live.addEventListener("status", () => this.#showConnection());
    addEventListener("hashchange", this.#routed);
    this.#showConnection();
    live.start();
    this.#route();
  }

  close() {
    this.#page?.close();
    removeEventListener("hashchange", this.#routed);
    this.live.stop();
  }

  #skipLink() {
    const skip = (event) => {
      event.preventDefault();
      this.main.focus();
    };
    return h("a", { class: "skip", href: "#main", click: skip }, t("skip"));
  }

  #header(signedOut) {
    const user = currentUser();
    const leave = async () => {
      try {
        await signOut();
      } catch (problem) {
        report(problem);
        return;
      }
      signedOut();
    };
    return h(
      "header",
      { class: "top" },
      h("span", { class: "brand" }, h("img", { src: "static/icon.svg", alt: "", width: 24, height: 24 }), h("span", {}, "maskstream")),
      this.connection,
      h("span", { class: "space" }),
      languageChoice(),
      h("span", { class: "user" }, h("b", {}, user.name), h("span", { class: "role" }, t(`role.${user.role}`))),
      h("button", { type: "button", class: "button quiet", click: leave, title: t("sign-out") }, icon("logout"), h("span", { class: "wide-only" }, t("sign-out"))),
    );
  }

  #navigation() {
    const links = PAGES.filter((page) => may(page.role) && (isFleet() || !page.inFleet)).map((page) => {
      const link = h("a", { href: `#/${page.name}` }, icon(page.name), h("span", {}, t(`page.${page.name}`)));
      this.#links.set(page.name, link);
      return link;
    });
    return h("nav", { class: "pages", "aria-label": t("pages") }, links);
  }

  #showConnection() {
    const status = this.live.status;
    this.connection.className = `connection connection-${status}`;
    this.connection.replaceChildren(icon(CONNECTION_ICONS[status]), h("span", {}, t(`connection.${status}`)));
  }

  /** Open the page of the address, unless the open one has changes that the user wants to keep. */
  async #route() {
    if (location.hash === this.#hash && this.#page) return;
    if (this.#page?.isDirty?.() && !(await ask(t("leave.title"), t("leave.text"), t("leave")))) {
      history.replaceState(null, "", this.#hash);
      return;
    }
    this.#hash = location.hash;
    this.#open();
  }

  #open() {
    const isFirst = this.#page === null;
    const { parts, query } = parseHash(location.hash);
    const name = this.#links.has(parts[0]) ? parts[0] : "now";
    this.#page?.close();
    for (const [page, link] of this.#links) {
      if (page === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.main.replaceChildren();
    this.main.className = `page-${name}`;
    this.#page = opener(name, parts)(this.main, { live: this.live, parts, query });
    document.title = `${this.#page.title ?? t(`page.${name}`)} · maskstream`;
    if (isFirst) return; // the focus begins at the top of the page
    if (!this.main.contains(document.activeElement)) this.main.querySelector("h1")?.focus({ preventScroll: true });
    scrollTo(0, this.#page.scrollTop ?? 0);
  }
}

/** Return the function that opens a page. It returns {close(), title, scrollTop}. */
function opener(name, parts) {
  if (name === "now") return parts.length > 1 ? openCamera : openNow;
  if (name === "cameras") return parts[2] === "zones" && may("admin") && !isFleet() ? openZones : openCameras;
  return { events: openEvents, nodes: openNodes, system: openSystem, audit: openAudit }[name];
}

function languageChoice() {
  const changed = (event) => {
    chooseLanguage(event.target.value);
    location.reload();
  };
  const options = Object.entries(languages).map(([code, name]) => h("option", { value: code, selected: code === language }, name));
  return h("select", { class: "language", "aria-label": t("language"), change: changed }, options);
}
