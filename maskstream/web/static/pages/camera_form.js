/** The dialog that adds or edits a camera of the list file. */

import { cameraPath, post, put } from "../api.js";
import { h, setText } from "../dom.js";
import { rate } from "../format.js";
import { t } from "../i18n.js";
import { showDialog } from "./dialog.js";

const BLURS = ["", "none", "all", "unmasked", "masked"];
let isOpen = false;

/**
 * Let the user edit a camera, or add one.
 *
 * Returns the name of the camera once the server saved it; null if the user cancelled. `stored` is null for a camera to add.
 */
export async function editCamera(stored) {
  if (isOpen) return null;
  isOpen = true;
  try {
    return (await showDialog(new CameraForm(stored).dialog)) || null;
  } finally {
    isOpen = false;
  }
}

class CameraForm {
  constructor(stored) {
    this.stored = stored;
    const settings = structuredClone(stored?.settings ?? {});
    this.storedSettings = JSON.stringify(settings);
    this.name = h("input", { id: "camera-name", required: true, disabled: stored !== null, value: stored?.camera ?? "", autocomplete: "off", spellcheck: "false" });
    this.url = h("input", {
      id: "camera-url",
      required: stored === null,
      value: stored?.url ?? "",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      placeholder: "rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@192.0.2.10:554/stream1",
      "aria-describedby": "camera-url-hint",
    });
    this.blur = h("select", { id: "camera-blur" }, BLURS.map((blur) => h("option", { value: blur }, t(blur ? `privacy.${blur}` : "form.default"))));
    this.blur.value = settings.privacy?.blur ?? "";
    delete settings.privacy?.blur;
    if (settings.privacy && Object.keys(settings.privacy).length === 0) delete settings.privacy;
    const text = Object.keys(settings).length ? JSON.stringify(settings, null, 2) : "";
    this.settings = h("textarea", { id: "camera-settings", rows: 4, spellcheck: "false", "aria-describedby": "camera-settings-hint", value: text });
    this.line = h("p", { class: "form-problem", role: "alert" });
    this.probed = h("p", { class: "form-note", role: "status" });
    this.dialog = this.#build();
  }

  #build() {
    const button = (kind, text, attributes) => h("button", { type: "button", class: `button ${kind}`, ...attributes }, t(text));
    this.test = button("", "form.test", { click: () => this.#probe() });
    this.save = button("primary", "save", { type: "submit" });
    const title = this.stored ? t("form.edit", { camera: this.stored.camera }) : t("cameras.add");
    const field = (input, label, hint) => [
      h("label", { htmlFor: input.id }, t(label)),
      input,
      hint && h("p", { class: "hint", id: `${input.id}-hint` }, t(hint)),
    ];
    const form = h(
      "form",
      { class: "form", submit: (event) => this.#submit(event) },
      h("h2", { id: "dialog-title" }, title),
      field(this.name, "form.name"),
      field(this.url, "form.url", this.stored ? "form.url-kept" : "form.url-hint"),
      field(this.blur, "form.blur"),
      field(this.settings, "form.settings", "form.settings-hint"),
      this.probed,
      this.line,
      h("p", { class: "dialog-buttons" }, this.test, h("span", { class: "space" }), button("", "cancel", { click: () => dialog.close("") }), this.save),
    );
    const dialog = h("dialog", { class: "dialog wide", "aria-labelledby": "dialog-title" }, form);
    return dialog;
  }

  async #probe() {
    setText(this.line, "");
    setText(this.probed, t("form.testing"));
    this.test.disabled = true;
    try {
      const found = await post("cameras/probe", this.#probeBody());
      setText(this.probed, found.ok === false ? "" : probeText(found));
      if (found.ok === false) setText(this.line, found.detail ?? found.problem);
    } catch (problem) {
      setText(this.probed, "");
      setText(this.line, problem.message);
    }
    this.test.disabled = false;
  }

  #probeBody() {
    const isStored = this.stored !== null && this.url.value.trim() === this.stored.url;
    return isStored ? { camera: this.stored.camera } : { url: this.url.value };
  }

  async #submit(event) {
    event.preventDefault();
    setText(this.line, "");
    const settings = this.#readSettings();
    if (settings === undefined) return;
    const name = this.name.value.trim();
    const body = {
      url: this.stored !== null && this.url.value.trim() === this.stored.url ? null : this.url.value.trim(),
      zones: null,
      settings: JSON.stringify(settings) === this.storedSettings ? null : settings,
      if_match: this.stored?.etag ?? null,
    };
    this.save.disabled = true;
    try {
      await put(cameraPath(name), body);
      this.dialog.close(name);
    } catch (problem) {
      setText(this.line, problem.message);
    }
    this.save.disabled = false;
  }

  /** Return the settings of both fields; undefined where the text is not a JSON object. */
  #readSettings() {
    let settings;
    try {
      settings = JSON.parse(this.settings.value.trim() || "{}");
    } catch (error) {
      setText(this.line, t("form.settings-wrong", { error: error.message }));
      return undefined;
    }
    if (settings === null || typeof settings !== "object" || Array.isArray(settings)) {
      setText(this.line, t("form.settings-object"));
      return undefined;
    }
    if (this.blur.value) settings.privacy = { ...settings.privacy, blur: this.blur.value };
    return settings;
  }
}

function probeText(found) {
  const size = t("form.tested", { width: found.width, height: found.height });
  return found.fps === null ? size : `${size}, ${t("form.fps", { fps: rate(found.fps) })}`;
}
