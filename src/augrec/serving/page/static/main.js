// The page's two tabs; the fragment of the address names the open one (#last-retrain).

import { find } from "./dom.js";
import { show } from "./retrain.js";
import { start } from "./try.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function open(tab) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    find(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (tab.id === "tab-retrain") show();
}

/** Open a tab and change the address, without scrolling: no element has the tab's name as its id. */
function go(tab) {
  history.pushState(null, "", `${location.pathname}${tab.dataset.hash && "#"}${tab.dataset.hash}`);
  open(tab);
}

for (const tab of tabs) tab.addEventListener("click", () => go(tab));
document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});

const named = () => tabs.find((tab) => tab.dataset.hash === location.hash.slice(1)) ?? tabs[0];
addEventListener("popstate", () => { if (location.hash !== "#main") open(named()); });
open(named());
start();
