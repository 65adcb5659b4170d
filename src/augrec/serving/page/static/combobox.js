// A text field with a list of suggestions: arrows, Home, End, Enter and Escape, as in the ARIA combobox pattern.

import { el } from "./dom.js";

const PAUSE_MS = 120;

/**
 * @param input the field; aria-controls is the id of its list.
 * @param search async (text, signal) => options, each {label, note, value}.
 * @param choose called with the value of the chosen option.
 * @param none message for a text without options.
 */
export function combobox(input, { search, choose, none }) {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  let options = [], active = -1, pause = 0, running = null;
  let pending = null; // action of a key pressed before the options were loaded

  function show(found, nothing) {
    options = found;
    active = -1;
    const empty = () => el("li", { class: "none", role: "option", "aria-disabled": "true", "aria-selected": "false" }, nothing);
    list.replaceChildren(...(found.length ? found.map(row) : [empty()]));
    list.scrollTop = 0;
    open(true);
    const wanted = pending;
    waiting(false);
    wanted?.();
  }

  function waiting(yes) {
    pending = null;
    list.setAttribute("aria-busy", String(yes));
  }

  function row({ label, note }, place) {
    const line = el("li", { role: "option", id: `${list.id}-${place}`, "aria-selected": "false" },
      el("span", {}, label), note ? el("small", {}, note) : null);
    line.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    line.addEventListener("click", () => take(place));
    return line;
  }

  function open(yes) {
    list.hidden = !yes;
    input.setAttribute("aria-expanded", String(yes));
    if (!yes) mark(-1);
  }

  function mark(place) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = place;
    const line = options.length ? list.children[place] : null;
    if (line) {
      line.setAttribute("aria-selected", "true");
      line.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", line.id);
    } else input.removeAttribute("aria-activedescendant");
  }

  function take(place) {
    const chosen = options[place];
    if (!chosen) return;
    close();
    choose(chosen.value, input);
  }

  function close() {
    clearTimeout(pause);
    running?.abort();
    waiting(false);
    open(false);
  }

  function ask(after) {
    clearTimeout(pause);
    running?.abort(); // its options are for another text
    waiting(true);
    pause = setTimeout(async () => {
      const mine = (running = new AbortController());
      try {
        const found = await search(input.value.trim(), mine.signal);
        if (!mine.signal.aborted) show(found, none(input.value.trim()));
      } catch (error) {
        if (!mine.signal.aborted) show([], error.message);
      }
    }, after);
  }

  const keys = {
    ArrowDown: () => mark((active + 1) % Math.max(options.length, 1)),
    ArrowUp: () => mark((active <= 0 ? options.length : active) - 1),
    Enter: () => take(Math.max(active, 0)),
  };
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      if (list.hidden) input.value = "";
      else close();
    } else if (event.key in keys) {
      event.preventDefault();
      if (list.hidden && list.getAttribute("aria-busy") !== "true") ask(0);
      if (list.getAttribute("aria-busy") === "true") pending = keys[event.key];
      else keys[event.key]();
    }
  });
  input.addEventListener("input", () => ask(PAUSE_MS));
  input.addEventListener("focus", () => ask(0));
  input.addEventListener("click", () => list.hidden && ask(0));
  input.addEventListener("blur", close);
}
