/** Dialogs of the browser: they keep the focus, and Esc closes them. */

import { h } from "../dom.js";
import { t } from "../i18n.js";

/** Show a dialog until it is closed, and return its value: "" if it was cancelled. */
export function showDialog(dialog) {
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(dialog.returnValue);
    });
  });
}

/** Ask before something is lost. */
export async function ask(title, text, yes) {
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
  const close = (value) => () => dialog.close(value);
  dialog.append(
    h("h2", { id: "dialog-title" }, title),
    h("p", {}, text),
    h(
      "p",
      { class: "dialog-buttons" },
      h("button", { type: "button", class: "button", click: close(""), autofocus: true }, t("cancel")),
      h("button", { type: "button", class: "button danger", click: close("yes") }, yes),
    ),
  );
  return (await showDialog(dialog)) === "yes";
}
