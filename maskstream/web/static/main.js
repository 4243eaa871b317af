/** Start the dashboard: sign in, then show the page that the address names after its #. */

import { access } from "./api.js";
import { h } from "./dom.js";
import { loadLanguage, t } from "./i18n.js";
import { Live } from "./live.js";
import { openLogin } from "./pages/login.js";
import { findSession, keepAlive } from "./session.js";
import { Shell } from "./shell.js";
import { createToasts } from "./toast.js";

const app = document.getElementById("app");
let shell = null;

await loadLanguage();
keepAlive();
access.addEventListener("signed-out", () => showLogin());
document.body.append(createToasts());
await begin();

async function begin() {
  try {
    if (await findSession()) showShell();
    else showLogin();
  } catch (problem) {
    const again = h("button", { type: "button", class: "button primary", click: () => location.reload() }, t("again"));
    app.replaceChildren(h("main", { class: "start-problem" }, h("p", { role: "alert" }, problem.message), again));
  }
}

function showShell() {
  shell?.close();
  shell = new Shell(app, new Live(), () => showLogin());
}

function showLogin() {
  shell?.close();
  shell = null;
  for (const dialog of document.querySelectorAll("dialog")) dialog.close("");
  openLogin(app, showShell);
}
