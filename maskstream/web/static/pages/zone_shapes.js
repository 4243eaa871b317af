/** Geometry of zones: polygons of [x, y] as fractions of width and height. */

const LEAST_AREA = 1e-6;
const DIGITS = 4;

export function clamp(value) {
  return Math.min(1, Math.max(0, value));
}

/** Return the corners with the number of digits that a list file needs. */
export function rounded(polygon) {
  return polygon.map((corner) => corner.map((value) => Number(value.toFixed(DIGITS))));
}

export function area(polygon) {
  const doubled = polygon.reduce((sum, [x, y], at) => {
    const [nextX, nextY] = polygon[(at + 1) % polygon.length];
    return sum + x * nextY - nextX * y;
  }, 0);
  return Math.abs(doubled) / 2;
}

/** Return whether two sides that do not meet cross each other. */
export function isCrossing(polygon) {
  const sides = polygon.map((corner, at) => [corner, polygon[(at + 1) % polygon.length]]);
  return sides.some((one, at) => sides.some((other, second) => second > at + 1 && !(at === 0 && second === sides.length - 1) && cross(one, other)));
}

function cross([a, b], [c, d]) {
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}

function side([ax, ay], [bx, by], [cx, cy]) {
  return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
}

/** Return the key of the text that says what is wrong with a zone; null if nothing is. */
export function fault(zone, zones) {
  if (!zone.name.trim()) return "zones.no-name";
  if (zones.filter((other) => other.name.trim() === zone.name.trim()).length > 1) return "zones.same-name";
  if (zone.polygon.length < 3 || area(zone.polygon) < LEAST_AREA) return "zones.no-area";
  return isCrossing(zone.polygon) ? "zones.crossing" : null;
}

export function middle([ax, ay], [bx, by]) {
  return [(ax + bx) / 2, (ay + by) / 2];
}

/** Move all corners by the same step; the zone stays within the frame. */
export function moved(polygon, dx, dy) {
  const xs = polygon.map(([x]) => x);
  const ys = polygon.map(([, y]) => y);
  const stepX = Math.min(1 - Math.max(...xs), Math.max(-Math.min(...xs), dx));
  const stepY = Math.min(1 - Math.max(...ys), Math.max(-Math.min(...ys), dy));
  return polygon.map(([x, y]) => [x + stepX, y + stepY]);
}

/** Return a name that no zone has: zone 1, zone 2 ... */
export function freeName(word, zones) {
  const names = new Set(zones.map((zone) => zone.name));
  let at = 1;
  while (names.has(`${word} ${at}`)) at += 1;
  return `${word} ${at}`;
}
