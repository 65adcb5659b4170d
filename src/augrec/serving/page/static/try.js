// The first tab: the user, what they like, and what is recommended to them.

import { call, ServiceError } from "./api.js";
import { combobox } from "./combobox.js";
import { el, find, icon, many, trainedOn } from "./dom.js";
import * as group from "./group.js";
import { rank, titleOf, waiting } from "./items.js";

const K = 12;
const PAST_SHOWN = 6;
const ROLES = ["champion", "challenger"];

const state = {
  user: null, // {user_id, known, history, history_length}; null: a new user
  visitor: null, // the id under which a new user's likes are stored
  together: false, // whether a group wants one list; likes are then those of its chosen member
  likes: [], // {item_id, title, stored}, oldest first
  models: null, // the last GET /v1/model
  shown: null, // user and category of the lists on the page
};
let running = null;
let tries = 0;

const lists = Object.fromEntries(ROLES.map((role) => [role, find(role).querySelector(".items")]));

/** Set up the tab and show the first list. */
export async function start() {
  waiting(lists.champion);
  combobox(find("search"), { search: titles, choose: likeFound, none: (text) => (text ? `No title contains “${text}”.` : "There are no titles.") });
  combobox(find("user"), { search: users, choose: chooseUser, none: () => "No user has a history yet. Type any id." });
  group.setUp({ search: users, change: changeGroup, say });
  for (const radio of document.querySelectorAll("input[name=who]")) radio.addEventListener("change", () => switchWho(radio.value));
  find("start-over").addEventListener("click", startOver);
  find("store").addEventListener("change", showStoreHint);
  find("category").addEventListener("change", update);
  for (const button of find("pick").children) button.addEventListener("click", () => pick(button.dataset.role));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    if (event.key === "/" && !typing && !find("try").hidden) { event.preventDefault(); find("search").focus(); }
  });
  showLikes();
  showStoreHint();
  await loadModels();
  await Promise.all([update(), loadCategories()]);
  setInterval(() => { if (!document.hidden) loadModels(true); }, 15_000);
}

// --- the user

async function users(text, signal) {
  const { users: found } = await call("/v1/users?limit=30", { signal });
  const known = found.filter((one) => one.user_id.includes(text))
    .map((one) => ({ label: one.user_id, note: many(one.history_length, "title"), value: one.user_id }));
  const typed = text && !found.some((one) => one.user_id === text);
  return typed ? [{ label: `Use the id “${text}”`, note: "", value: text }, ...known] : known;
}

async function chooseUser(id, input) {
  input.value = id;
  await guarded(async () => {
    state.user = await call(`/v1/users/${encodeURIComponent(id)}`);
    state.likes = [];
    showLikes();
    showHistory();
    showStoreHint();
    await update();
  });
}

function switchWho(who) {
  find("choose-user").hidden = who !== "user";
  state.together = who === "group";
  find("group").hidden = !state.together;
  for (const part of document.querySelectorAll(".store, #store-hint")) part.hidden = state.together;
  if (state.together) { state.user = null; find("user").value = ""; showHistory(); beginGroup(); return; }
  if (who === "user") { find("user").focus(); return; }
  find("user").value = "";
  state.user = null;
  startOver();
}

function beginGroup() {
  find("store").checked = false;
  group.begin();
  changeGroup();
}

/** Other members, another strategy, or the likes of another member. */
function changeGroup() {
  state.likes = group.likes();
  showLikes();
  update();
}

function startOver() {
  if (state.together) { group.setLikes([]); changeGroup(); return; }
  state.likes = [];
  state.visitor = null;
  showLikes();
  showHistory();
  showStoreHint();
  update();
}

function showHistory() {
  const { user } = state;
  find("before").hidden = !user;
  if (!user) return;
  const shown = user.history.slice(0, PAST_SHOWN), more = user.history_length - shown.length;
  find("before-list").replaceChildren(...shown.map((item) => el("li", {}, el("span", {}, titleOf(item)))));
  const rest = more > 0 ? `and ${many(more, "more title", "more titles")}, newest first` : "";
  find("before-more").textContent = user.history_length ? rest : "This id has no history: it is treated as a new user.";
}

// --- what they like

async function titles(text, signal) {
  const { items } = await call(`/v1/items?limit=12&query=${encodeURIComponent(text.slice(0, 200))}`, { signal });
  return items.map((item) => ({ label: titleOf(item), note: item.categories.slice(0, 2).join(", "), value: item }));
}

function likeFound(item, input) {
  input.value = "";
  like(item);
}

async function like(item) {
  if (state.likes.some((one) => one.item_id === item.item_id)) { say(`You already like ${titleOf(item)}.`); return; }
  const mine = { item_id: item.item_id, title: titleOf(item), stored: false };
  state.likes.push(mine);
  showLikes();
  if (find("store").checked) {
    await guarded(async () => { mine.stored = await store(item); });
    showLikes();
    showStoreHint();
  }
  await update();
}

/** Store a like as a click; returns whether it is in the user's history now. */
async function store(item) {
  if (!state.user) state.visitor ??= `visitor-${random(4)}`;
  const event = { event_id: random(16), user_id: state.user?.user_id ?? state.visitor, item_id: item.item_id, event: "click" };
  if (item.position && item.answer_id) Object.assign(event, { answer_id: item.answer_id, position: item.position });
  await call("/v1/events", { body: { events: [event] } });
  const user = await call(`/v1/users/${encodeURIComponent(event.user_id)}`);
  // if clicks are not positive events, the like is sent with each request, as if it were not stored
  return user.history.some((one) => one.item_id === item.item_id);
}

function random(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function removeLike(item) {
  state.likes = state.likes.filter((one) => one !== item);
  if (state.together) group.setLikes(state.likes);
  showLikes();
  update();
  (find("liked").querySelector("button") ?? find("search")).focus({ preventScroll: true });
}

function showLikes() {
  const { likes } = state;
  find("liked-title").textContent = state.together ? `${group.activeName()} likes` : "You like";
  find("liked").replaceChildren(...[...likes].reverse().map((item) => el("li", {},
    el("span", {}, item.title),
    item.stored ? el("span", { class: "mark" }, "stored") : el("button", { class: "round", type: "button", "aria-label": `Remove ${item.title}`, title: "Remove", onclick: () => removeLike(item) }, icon("cross")))));
  find("liked-empty").hidden = likes.length > 0;
  find("start-over").hidden = likes.length === 0;
}

function showStoreHint() {
  const whose = state.user ? `user ${state.user.user_id}` : state.visitor ?? "a new visitor";
  find("store-hint").textContent = find("store").checked
    ? `Each like is stored as a click of ${whose}. It counts immediately, and the next retrain is trained on it.`
    : "Your likes stay on this page; nothing is stored.";
}

// --- what is recommended

async function update() {
  running?.abort();
  const mine = (running = new AbortController());
  find("sides").setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const roles = ROLES.filter(serves);
    const asked = roles.length ? roles : [null];
    const answers = await Promise.all(asked.map((role) => call("/v1/recommendations", { body: request(role), signal: mine.signal })));
    if (mine.signal.aborted) return;
    tries = 0;
    find("problem").replaceChildren();
    showAnswers(answers, performance.now() - began);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error.status === 404 && tries === 0) { // the challenger has been removed since the last call
      tries = 1;
      await loadModels();
      await update();
    } else fail(error, update);
  } finally {
    if (running === mine) find("sides").setAttribute("aria-busy", "false");
  }
}

function request(role) {
  const category = find("category").value, user = state.user?.user_id ?? state.visitor;
  const unsaved = state.likes.filter((one) => !one.stored).map((one) => one.item_id);
  const body = { k: K, reasons: true };
  if (state.together) Object.assign(body, group.request());
  else if (user) body.user_id = user;
  if (!state.together && unsaved.length) body.history = unsaved;
  if (category) body.filters = { categories: [category] };
  if (role) body.model = role;
  return body;
}

function showAnswers(answers, ms) {
  const [ours, theirs] = answers;
  const isNew = ours.history_length === 0;
  const now = JSON.stringify([state.together, state.user?.user_id, find("category").value]), same = state.shown === now;
  state.shown = now;
  const popular = (item) => (item.reasons ?? []).every((reason) => reason.kind === "popularity");
  const plain = isNew && answers.every((answer) => answer.items.every(popular));
  const ids = answers.map((answer) => new Set(answer.items.map((item) => item.item_id)));
  const without = (one, other) => new Set([...ids[one]].filter((id) => !ids[other].has(id)));
  const changes = answers.map((answer, side) => rank(lists[ROLES[side]],
    answer.items.map((item) => ({ ...item, answer_id: answer.answer_id })),
    { liked: like, only: theirs ? without(side, 1 - side) : null, plain, same }));
  if (ours.group) group.content(ours.group);
  const whom = state.together ? "the group" : state.user ? `user ${state.user.user_id}` : "a new user";
  const known = plain ? `For ${whom}: popular titles` : isNew ? `For ${whom} without a history` : `For ${whom} with ${many(ours.history_length, "title")}`;
  const fresh = changes[0].fresh ? ` · ${changes[0].fresh} new` : "";
  const first = changes[0].first ? `. First: ${titleOf(changes[0].first)}.` : "";
  find("status").replaceChildren(`${known}${fresh} · answered in ${Math.max(1, Math.round(ms))} ms${missing(ours.degraded)}`,
    el("span", { class: "spoken" }, first));
  showSides(answers, ids);
}

const MISSING = {
  features: "without features of the user, which did not arrive in time",
  reasons: "without reasons, which took too long",
  popular: "popular titles, because the model did not answer in time",
  model: "popular titles, because no model has been promoted yet",
  unranked: "unranked, because the model does not know these titles",
};
const missing = (degraded) => degraded.map((name) => ` · ${MISSING[name] ?? name}`).join("");

function showSides(answers, ids) {
  const two = answers.length === 2;
  find("sides").classList.toggle("two", two);
  find("challenger").hidden = !two;
  find("champion-title").hidden = !two;
  find("pick").hidden = !two;
  answers.forEach(({ model }, side) => {
    const name = ROLES[side];
    find(`${name}-title`).replaceChildren(name[0].toUpperCase() + name.slice(1), el("small", {}, words(model)));
  });
  const shared = two ? [...ids[0]].filter((id) => ids[1].has(id)).length : 0;
  const same = two && answers[0].items.every((item, place) => item.item_id === answers[1].items[place]?.item_id);
  find("compare").textContent = !two
    ? "There is no challenger. If the registry names one, its list is shown next to the champion’s."
    : same ? "Both models return the same list." : `${shared} of ${many(ids[0].size, "title")} are in both lists.`;
  if (!two) pick("champion");
}

function pick(role) {
  find("sides").dataset.shown = role;
  for (const button of find("pick").children) button.setAttribute("aria-pressed", String(button.dataset.role === role));
}

// --- models and categories

/** Whether a version has that role; the fallback has neither. */
const serves = (role) => state.models?.[role]?.role === role;

const words = (model) => `version ${model.version} · ${model.recommender}, trained on ${trainedOn(model.policy)}`;

async function loadModels(again = false) {
  try {
    const found = await call("/v1/model");
    const versions = () => ROLES.map((role) => (serves(role) ? state.models[role].version : "")).join();
    const was = versions(), { champion } = found;
    state.models = found;
    find("serving").replaceChildren(...(serves("champion")
      ? [el("strong", {}, `Champion: version ${champion.version}`), el("br"), `${champion.recommender}, trained on ${trainedOn(champion.policy)}`]
      : ["No model has been promoted yet"]));
    if (again && was !== versions()) await update();
  } catch (error) {
    if (!again) fail(error, () => loadModels());
  }
}

async function loadCategories() {
  const { categories } = await call("/v1/categories").catch(() => ({ categories: [] }));
  find("filter").hidden = categories.length < 2;
  find("category").append(...categories.slice(0, 200).map(({ name }) => el("option", { value: name }, name)));
}

// --- errors

async function guarded(action) {
  try {
    await action();
  } catch (error) {
    fail(error, null);
  }
}

function fail(error, again) {
  if (!(error instanceof ServiceError)) throw error;
  const retry = again && el("button", { type: "button", onclick: again }, "Try again");
  find("problem").replaceChildren(el("div", { class: "notice" }, el("p", {}, error.message, error.fix ? el("small", {}, error.fix) : null), retry));
  if (again && error.retryAfter !== null && tries < 20) {
    tries += 1;
    setTimeout(() => retry.isConnected && again(), 1000 * Math.min(error.retryAfter * tries, 30));
  }
}

function say(text) {
  find("status").textContent = text;
}
