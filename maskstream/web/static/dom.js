/** Build DOM nodes. Text is always set as text, never parsed as markup. */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "selected", "htmlFor", "tabIndex", "open"]);

/** Return an HTML element. A function among the attributes listens to the event with its name. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Set the text of a node if it differs. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set or remove an attribute if it differs. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** Put nodes into this order with as few moves as possible; the focused node keeps the focus. */
export function order(parent, nodes) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  for (const [index, node] of nodes.entries()) {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  }
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
  if (focused && focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

/** Return text that only screen readers present. */
export function spoken(text) {
  return h("span", { class: "spoken" }, text);
}

/** Return the heading of a page, with what stands beside it. It takes the focus when the page opens. */
export function heading(text, ...rest) {
  return h("div", { class: "heading" }, h("h1", { tabIndex: -1 }, text), ...rest);
}
