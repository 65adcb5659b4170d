// A group of two to eight people who want one list: its members, whose likes are being chosen, and how content each is.

import { combobox } from "./combobox.js";
import { el, find, icon, many } from "./dom.js";

const LEAST = 2, MOST = 8;
const STRATEGIES = {
  average: "what members like on average",
  least_misery: "what nobody minds (least misery)",
  most_pleasure: "what someone loves (most pleasure)",
  average_without_misery: "the average without misery",
  multiplicative: "the product of wishes",
  borda: "votes by rank (Borda)",
  gfar: "something for each, soon (GFAR)",
  ep_fuzzda: "equal shares (EP-FuzzDA)",
  own_row: "all likes as one person’s",
};

let members = []; // {name, user_id, likes, content}
let active = 0;
let newcomers = 0;
let on = { change: () => {}, say: () => {} };

/**
 * Set up the panel.
 *
 * @param search finds users, for a combobox.
 * @param change called when members, strategy or whose likes are shown have changed.
 * @param say announces a text.
 */
export function setUp({ search, change, say }) {
  on = { change, say };
  find("strategy").append(...Object.entries(STRATEGIES).map(([value, text]) => el("option", { value }, text)));
  find("strategy").addEventListener("change", () => on.change());
  find("add-newcomer").addEventListener("click", () => add(null));
  combobox(find("member"), { search, choose: (id, input) => { input.value = ""; add(id); }, none: () => "No user has a history yet. Type any id." });
}

/** Begin with two new users. */
export function begin() {
  newcomers = 0;
  members = [newcomer(), newcomer()];
  active = 0;
  show();
}

/** The likes that are being chosen: an array that may be changed in place. */
export const likes = () => members[active].likes;

/** Replace the likes of the member who is chosen. */
export function setLikes(found) {
  members[active].likes = found;
  show();
}

export const activeName = () => members[active].name;

/** The part of a request that describes the group. */
export const request = () => ({
  strategy: find("strategy").value,
  group: members.map(({ user_id, likes: own }) => ({ ...(user_id ? { user_id } : {}), ...(own.length ? { history: own.map((one) => one.item_id) } : {}) })),
});

/** Show how content each member is. */
export function content(answer) {
  answer.members.forEach((one, place) => { if (members[place]) Object.assign(members[place], { content: one.satisfaction, length: one.history_length }); });
  show(answer.worst_off);
}

const newcomer = () => ({ name: `New user ${(newcomers += 1)}`, user_id: null, likes: [], content: null, length: 0 });

function add(id) {
  if (members.length >= MOST) { on.say(`A group has at most ${MOST} members.`); return; }
  if (id && members.some((one) => one.user_id === id)) { on.say(`User ${id} is a member already.`); return; }
  members.push(id ? { name: `User ${id}`, user_id: id, likes: [], content: null, length: 0 } : newcomer());
  choose(members.length - 1);
}

function choose(place) {
  active = place;
  show();
  on.change();
}

function remove(place) {
  members.splice(place, 1);
  choose(Math.min(active > place ? active - 1 : active, members.length - 1));
  find("members").children[active].querySelector("button").focus({ preventScroll: true });
}

function show(worst = null) {
  const focused = [...find("members").querySelectorAll("button")].indexOf(document.activeElement);
  const someWorse = worst !== null && members.some((one) => one.content > members[worst].content + 0.005);
  find("members").replaceChildren(...members.map((one, place) => el("li", {},
    el("button", { type: "button", class: "member", "aria-pressed": String(place === active), onclick: () => choose(place) },
      el("span", {}, one.name), el("small", {}, many(Math.max(one.length, one.likes.length), "title"))),
    members.length > LEAST ? el("button", { class: "round", type: "button", "aria-label": `Remove ${one.name}`, title: "Remove", onclick: () => remove(place) }, icon("cross")) : null,
    one.content === null ? null : el("div", { class: "content" },
      el("meter", { min: "0", max: "1", value: String(one.content), "aria-label": `How content ${one.name} is` }),
      el("small", {}, `${Math.round(100 * one.content)} %${someWorse && place === worst ? ", least" : ""}`)))));
  find("add-newcomer").disabled = members.length >= MOST;
  if (focused >= 0) find("members").querySelectorAll("button")[focused]?.focus({ preventScroll: true });
}
