/** Icons of 24 by 24 units, drawn with strokes. */

import { svg } from "./dom.js";

const PATHS = {
  now: "M3.5 4.5h7v6h-7zM13.5 4.5h7v6h-7zM3.5 13.5h7v6h-7zM13.5 13.5h7v6h-7z",
  events: "M12 3.5a5.5 5.5 0 0 0-5.5 5.5v4L4.5 16.5h15L17.5 13V9A5.5 5.5 0 0 0 12 3.5zM9.8 19.5a2.3 2.3 0 0 0 4.4 0",
  cameras: "M3.5 7.5h11v9h-11zM14.5 11l6-3.5v9l-6-3.5",
  system: "M4 4.5h16v6H4zM4 13.5h16v6H4zM7.5 7.5h.01M7.5 16.5h.01M11 7.5h5M11 16.5h5",
  audit: "M6 4.5h12v16H6zM9.5 3h5v3h-5zM9 10.5h6M9 14h6M9 17.5h3.5",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 7.5V12l3 2",
  mask: "M5 12.5l4.5 4.5L19 7",
  no_mask: "M6 6l12 12M18 6L6 18",
  incorrect: "M12 5v9M12 18v1",
  unknown: "M8 8.5a4 4 0 1 1 5.6 3.7c-1 .5-1.6 1.2-1.6 2.300M12 18v1",
  online: "M12 6a6 6 0 1 0 0 12 6 6 0 0 0 0-12z",
  offline: "M4.5 4.500h15v15h-15zM9 9l6 6M15 9l-6 6",
  stalled: "M12 4l9 16H3zM12 10v4.500M12 17v.6",
  reconnecting: "M19.5 12a7.5 7.5 0 1 1-2.3-5.400M19.5 3.500v4.200h-4.2",
  unplaced: "M12 5a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM7 7l10 10",
  nodes: "M9.5 3.500h5v5h-5zM3.5 15.500h5v5h-5zM15.5 15.500h5v5h-5zM12 8.500v3.500M6 15.500V12h12v3.500",
  drain: "M12 4v11M7 10.500l5 5 5-5M5 20h14",
  connecting: "M7 4h10M7 20h10M8 4v3.500l4 4.5 4-4.500V4M8 20v-3.500l4-4.5 4 4.500V20",
  ended: "M6 6h12v12H6z",
  plus: "M12 5v14M5 12h14",
  edit: "M4.5 19.500l1-4.500L16 4.500l3.5 3.500L9 18.500zM14 6.500l3.5 3.5",
  remove: "M5 7h14M9.5 7V4.500h5V7M7 7l.8 12.500h8.400L17 7M10.5 10.500v5.500M13.5 10.500v5.5",
  zones: "M5 8l7-3.5 7 5-3 9H7zM5 8h.01M12 4.500h.01M19 9.500h.01M16 18.500h.01M7 18.500h.01",
  close: "M6 6l12 12M18 6L6 18",
  back: "M10.5 5.500L4 12l6.5 6.500M4 12h16",
  previous: "M14.5 5.500L8 12l6.5 6.5",
  next: "M9.5 5.500L16 12l-6.5 6.5",
  expand: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  logout: "M10 4.500H5v15h5M14 8l4 4-4 4M18 12H9",
  shield: "M12 3.500l7 2.500v5.500c0 4.5-3 7.5-7 9-4-1.5-7-4.5-7-9V6z",
  undo: "M8.5 5L4 9.5 8.5 14M4 9.500h9.500a5.5 5.5 0 0 1 0 11H9",
  link: "M10 14l4-4M8.5 11L6 13.500a3.5 3.5 0 0 0 5 5l2.5-2.500M15.5 13l2.5-2.500a3.5 3.5 0 0 0-5-5L10.5 8",
};
const FILLED = new Set(["online", "ended"]);

/** Return an icon that screen readers leave out. */
export function icon(name) {
  return svg(
    "svg",
    { class: FILLED.has(name) ? "icon filled" : "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: PATHS[name] }),
  );
}
