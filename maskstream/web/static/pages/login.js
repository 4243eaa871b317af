/** Sign in with name and password. */

import { h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { signIn } from "../session.js";

export function openLogin(app, signedIn) {
  const name = h("input", { id: "name", name: "name", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true });
  const password = h("input", { id: "password", name: "password", type: "password", autocomplete: "current-password", required: true });
  const shown = h("input", { type: "checkbox", id: "shown", change: () => (password.type = shown.checked ? "text" : "password") });
  const line = h("p", { class: "form-problem", role: "alert" });
  const countdown = h("p", { class: "form-problem", "aria-hidden": "true" });
  const button = h("button", { class: "button primary", type: "submit" }, t("login.button"));

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    setText(line, "");
    try {
      await signIn(name.value, password.value);
    } catch (problem) {
      setText(line, problemText(problem));
      if (problem.retryAfterS !== null) await wait(problem.retryAfterS);
      button.disabled = false;
      password.value = "";
      password.focus();
      return;
    }
    signedIn();
  }

  /** Count down until the server accepts the next attempt. */
  async function wait(seconds) {
    const untilMs = performance.now() + 1000 * seconds;
    for (let leftMs = 1000 * seconds; leftMs > 0 && line.isConnected; leftMs = untilMs - performance.now()) {
      setText(countdown, t("login.wait", { seconds: Math.ceil(leftMs / 1000) }));
      await new Promise((done) => setTimeout(done, 1000));
    }
    setText(line, "");
    setText(countdown, "");
  }

  app.replaceChildren(
    h(
      "main",
      { class: "login" },
      h(
        "form",
        { class: "card", submit, method: "post" },
        h("span", { class: "brand" }, h("img", { src: "static/icon.svg", alt: "", width: 40, height: 40 }), h("h1", {}, "maskstream")),
        h("label", { htmlFor: "name" }, t("login.name")),
        name,
        h("label", { htmlFor: "password" }, t("login.password")),
        password,
        h("label", { class: "check" }, shown, t("login.show")),
        line,
        countdown,
        button,
      ),
    ),
  );
  document.title = `${t("login.button")} · maskstream`;
  name.focus();
}

function problemText(problem) {
  if (problem.status === 401) return t("login.wrong");
  return problem.status === 429 ? t("login.limited") : problem.message;
}
