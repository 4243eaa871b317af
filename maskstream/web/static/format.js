/** Write times, durations and numbers in the user's language. */

import { locale, t } from "./i18n.js";

const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;
const BYTES = ["B", "kB", "MB", "GB", "TB"];

export function number(value, digits = 0) {
  return value.toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function rate(fps) {
  return typeof fps === "number" ? number(fps, 1) : "–";
}

export function percent(fraction) {
  return typeof fraction === "number" ? fraction.toLocaleString(locale, { style: "percent" }) : "–";
}

/** Return the age of a picture: one decimal below 10 s. */
export function age(seconds) {
  const shown = Math.max(0, seconds);
  return shown < 9.95 ? `${number(shown, 1)} ${t("unit.s")}` : duration(shown);
}

/** Return a duration with its two largest units. */
export function duration(seconds) {
  const whole = Math.round(Math.max(0, seconds));
  if (whole < MINUTE_S) return `${whole} ${t("unit.s")}`;
  if (whole < HOUR_S) return pair(whole, MINUTE_S, "unit.min", 1, "unit.s");
  if (whole < DAY_S) return pair(whole, HOUR_S, "unit.h", MINUTE_S, "unit.min");
  return pair(whole, DAY_S, "unit.d", HOUR_S, "unit.h");
}

function pair(seconds, large, largeUnit, small, smallUnit) {
  const rest = Math.floor((seconds % large) / small);
  const first = `${Math.floor(seconds / large)} ${t(largeUnit)}`;
  return rest === 0 ? first : `${first} ${rest} ${t(smallUnit)}`;
}

/** Return the time of day of a UTC text, in the browser's time zone. */
export function clockTime(utc) {
  return new Date(utc).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function dateTime(utc) {
  return new Date(utc).toLocaleString(locale, { dateStyle: "medium", timeStyle: "medium" });
}

/** Return hours and minutes for today, otherwise date and time. */
export function shortTime(utc) {
  const date = new Date(utc);
  if (date.toDateString() === new Date().toDateString()) {
    return date.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
  }
  return date.toLocaleString(locale, { day: "2-digit", month: "2-digit", hour: "2-digit", minute: "2-digit" });
}

/** Return "Today", "Yesterday" or the date. */
export function day(utc) {
  const date = new Date(utc);
  const days = Math.round((midnight(new Date()) - midnight(date)) / (1000 * DAY_S));
  if (days === 0) return t("day.today");
  if (days === 1) return t("day.yesterday");
  return date.toLocaleDateString(locale, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < BYTES.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${number(value, unit > 2 || (value < 10 && unit > 0) ? 1 : 0)} ${BYTES[unit]}`;
}
