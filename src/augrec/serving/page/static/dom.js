// Building the page: elements and text only, so that titles and ids cannot become markup.

/** An element: `el("li", {class: "won", onclick}, "text", child)`; null children are left out. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

export const find = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  heart: "M12 20s-7-4.4-9-8.6C1.4 7.900 3.700 5 6.700 5 9 5 10.900 6.300 12 8.200 13.100 6.300 15 5 17.300 5c3 0 5.300 2.900 3.700 6.400C19 15.600 12 20 12 20Z",
  cross: "M6 6l12 12M18 6L6 18",
};

/** A small icon, hidden from screen readers; the button around it has a label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

const NUMBERS = new Intl.NumberFormat("en");

/** "1 like", "1,204 likes". */
export const many = (n, one, several = `${one}s`) => `${NUMBERS.format(n)} ${n === 1 ? one : several}`;

/** "A", "A and B", "A, B and C", as nodes: each name through `wrap`. */
export function listed(names, wrap = (name) => name) {
  return names.flatMap((name, place) => {
    const between = place === 0 ? [] : [place === names.length - 1 ? " and " : ", "];
    return [...between, wrap(name)];
  });
}

/** A policy's name as text. */
export const trainedOn = (policy) => (policy === "none" ? "real data" : policy.replaceAll("_", " "));
