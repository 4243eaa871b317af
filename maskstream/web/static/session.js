/** The signed-in user and what the role may do. */

import { get, post, remove } from "./api.js";

const RANKS = { display: 0, viewer: 1, operator: 2, admin: 3 };
const KEEP_ALIVE_MS = 4 * 60_000;
const IDLE_MS = 30 * 60_000;
let user = null;
let lastInput = performance.now();

/** Return the user, or null if nobody is signed in. */
export async function findSession() {
  try {
    user = await get("session");
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    user = null;
  }
  return user;
}

export async function signIn(name, password) {
  user = await post("session", { name, password });
  return user;
}

export async function signOut() {
  await remove("session");
  user = null;
}

export function currentUser() {
  return user;
}

/** Return whether the role of the user has at least this rank. */
export function may(role) {
  return user !== null && RANKS[user.role] >= RANKS[role];
}

/** Return whether the cameras run on the nodes of a fleet, where their pictures stay. */
export function isFleet() {
  return user?.fleet === true;
}

/** Return whether the page may renew the session: administrators and operators must use the page from time to time. */
export function isInUse() {
  return document.visibilityState === "visible" && (!may("operator") || performance.now() - lastInput < IDLE_MS);
}

/** Keep the session while its page is in use. */
export function keepAlive() {
  for (const name of ["pointerdown", "keydown"]) {
    addEventListener(name, () => (lastInput = performance.now()), { capture: true, passive: true });
  }
  setInterval(() => {
    if (user && isInUse()) get("session").catch(() => {});
  }, KEEP_ALIVE_MS);
}
