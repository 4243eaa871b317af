/** Call the HTTP API. A failed call throws a Problem with the server's one-line message. */

import { t } from "./i18n.js";

const BASE = new URL("api/v1/", document.baseURI);

/** An answer of RFC 9457, or a connection that failed (status 0). */
export class Problem extends Error {
  constructor(status, detail, retryAfterS = null) {
    super(detail);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** Reports "signed-out" when the server no longer accepts the session. */
export const access = new EventTarget();

export function get(path, query = {}) {
  return call("GET", path, { query });
}

export function post(path, body) {
  return call("POST", path, { body });
}

export function put(path, body) {
  return call("PUT", path, { body });
}

export function remove(path, body) {
  return call("DELETE", path, { body });
}

/** Return the path of a camera; its name may contain any character. */
export function cameraPath(camera, rest = "") {
  return `cameras/${encodeURIComponent(camera)}${rest}`;
}

/** Return the path of a node of a fleet. */
export function nodePath(node, rest = "") {
  return `nodes/${encodeURIComponent(node)}${rest}`;
}

export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url;
}

/** Return an image as a Blob, with the headers of its answer. */
export async function getImage(path, query = {}) {
  const response = await request("GET", address(path, query));
  if (!response.ok) throw await problemOf(response);
  return { blob: await response.blob(), headers: response.headers };
}

async function call(method, path, { query = {}, body = undefined }) {
  const response = await request(method, address(path, query), body);
  if (!response.ok) {
    const problem = await problemOf(response);
    if (problem.status === 401 && path !== "session") access.dispatchEvent(new Event("signed-out"));
    throw problem;
  }
  return response.status === 204 ? null : response.json();
}

async function request(method, url, body) {
  const options = { method, credentials: "same-origin", cache: "no-store", headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  try {
    return await fetch(url, options);
  } catch {
    throw new Problem(0, t("problem.connection"));
  }
}

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After"));
  let detail = t("problem.status", { status: response.status });
  try {
    const answer = await response.json();
    detail = answer.detail ?? answer.title ?? detail;
  } catch {
    // The answer has no JSON: the status is reported.
  }
  return new Problem(response.status, detail, retryAfter > 0 ? retryAfter : null);
}
