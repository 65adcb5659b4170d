// The ranked lists: rows, their changes of position and their reasons, and what differs between two models.

import { el, find, icon, listed, many } from "./dom.js";

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Show a ranked list in `list`, with the changes since the previous one.
 *
 * @param liked called with an item when it is liked.
 * @param only ids that are not in the other model's list; null: there is no other.
 * @param plain all items are there because they are popular, which the line above the list says: rows have no reasons.
 * @param same the previous list was for the same user, so changes are meaningful.
 */
export function rank(list, items, { liked, only = null, plain = false, same = true }) {
  const shown = [...list.querySelectorAll("[data-item]")];
  const before = new Map(same ? shown.map((row, place) => [row.dataset.item, place + 1]) : []);
  const tops = new Map(shown.map((row) => [row.dataset.item, row.getBoundingClientRect().top]));
  const rows = items.map((item) => row(item, changeOf(item, before), { liked, only, plain }));
  const none = el("li", { class: "none" }, "No titles are left. Choose another category, or remove a like.");
  const focused = shown.findIndex((row) => row.contains(document.activeElement));
  list.replaceChildren(...(rows.length ? rows : [none]));
  if (focused >= 0) keepFocus(rows, shown[focused].dataset.item, focused);
  if (!reducedMotion.matches && tops.size) slide(rows, tops);
  return { fresh: before.size ? items.filter((item) => !before.has(item.item_id)).length : 0, first: items[0] ?? null };
}

/** The focused row was replaced: focus the item again, or, if it is gone, what stands in its place. */
function keepFocus(rows, item, place) {
  const row = rows.find((one) => one.dataset.item === item) ?? rows[Math.min(place, rows.length - 1)];
  (row?.querySelector(".like") ?? find("search")).focus({ preventScroll: true });
}

/** Placeholder rows while the first list is loading. */
export function waiting(list, n = 6) {
  const line = () => el("li", { class: "skeleton", "aria-hidden": "true" }, el("span", { class: "place" }), el("span", { class: "tile" }),
    el("span", {}, el("span", { class: "bar" }), el("span", { class: "bar" })));
  list.replaceChildren(...Array.from({ length: n }, line));
}

export const titleOf = (item) => item.title || item.item_id;

function changeOf(item, before) {
  if (!before.size) return null;
  const was = before.get(item.item_id);
  if (was === undefined) return el("span", { class: "move" }, "new");
  const up = was - item.position;
  if (up === 0) return null;
  return el("span", { class: up > 0 ? "move" : "move down" },
    el("span", { "aria-hidden": "true" }, up > 0 ? `↑ ${up}` : `↓ ${-up}`),
    el("span", { class: "spoken" }, `${up > 0 ? "up" : "down"} ${many(Math.abs(up), "place")}`));
}

function row(item, move, { liked, only, plain }) {
  const name = titleOf(item);
  const heart = el("button", { class: "round like", type: "button", "aria-label": `Like ${name}`, title: "Like" }, icon("heart"));
  heart.addEventListener("click", () => liked(item));
  const sign = only?.has(item.item_id) ? el("span", { class: "move only" }, "only here") : null;
  return el("li", { "data-item": item.item_id },
    el("span", { class: "place" }, String(item.position)),
    tile(item),
    el("div", {},
      el("p", { class: "title", title: name }, name, move, sign),
      item.categories.length ? el("p", { class: "about" }, item.categories.slice(0, 3).join(", ")) : null,
      plain ? null : why(item.reasons ?? [])),
    heart);
}

/** The reasons of an item as text: each kind once, strongest first; popularity only if it is the strongest. */
function why(reasons) {
  const kinds = [...new Set(reasons.map((reason) => reason.kind))].filter((kind, place) => !(kind === "popularity" && place));
  if (!kinds.length) return null;
  const said = kinds.flatMap((kind, place) => [place ? " · " : "", ...WORDS[kind](reasons.filter((reason) => reason.kind === kind))]);
  return el("p", { class: "about" }, ...said);
}

const COUNTS = ["", "one", "two", "three", "four", "five", "six", "seven", "eight"];
const who = ({ members }) => (members ? `${COUNTS[members.length]} of you` : "you");
const bold = (names) => listed(names.slice(0, 2), (name) => el("b", {}, name));
/** Of whose taste a list is, where a taste group is a reason. */
function popularWith(reasons) {
  const taste = reasons.find((reason) => reason.attribute.startsWith("people who like "));
  return taste && ["popular with ", el("b", {}, taste.attribute)];
}

const WORDS = {
  item: (reasons) => [`because ${who(reasons[0])} liked `, ...bold(reasons.map((reason) => reason.title || reason.item_id))],
  attribute: (reasons) => popularWith(reasons) ?? ["matches your ", ...bold(reasons.map((reason) => reason.attribute.replace(/^user__/, "").replaceAll("_", " ")))],
  popularity: () => ["popular"],
};

function tile(item) {
  const mark = el("span", { class: "tile", "aria-hidden": "true" }, initials(titleOf(item)));
  mark.style.setProperty("--hue", String(hue(item.categories.slice(0, 2).join() || titleOf(item))));
  return mark;
}

/** The initials of a title: of its first two words that are not articles or prepositions. */
function initials(title) {
  const words = title.replace(/\(.*?\)/g, " ").match(/[\p{L}\p{N}]+/gu) ?? [title];
  const significant = words.filter((word) => !/^(the|a|an|of|and|in|on|to|la|le|les|el|der|die|das)$/i.test(word));
  return (significant.length ? significant : words).slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

function hue(text) {
  let hash = 0x811c9dc5; // FNV-1a
  for (const letter of text) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return hash % 360;
}

/** Animate rows from their previous position. */
function slide(rows, tops) {
  for (const line of rows) {
    const was = tops.get(line.dataset.item);
    const by = was === undefined ? null : was - line.getBoundingClientRect().top;
    const frames = by === null ? [{ opacity: 0 }, { opacity: 1 }] : [{ transform: `translateY(${by}px)` }, { transform: "none" }];
    if (by !== 0) line.animate(frames, { duration: 320, easing: "cubic-bezier(.2, .8, .2, 1)" });
  }
}
